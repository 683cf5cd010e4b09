/* See session.h. */

#include "session.h"

#include "variable.h"

static PyObject *running; /* context variable: the id as an int, or None */
static PyObject *states;  /* dict from ids to dicts, of those that were asked for */

int pc_session_init(void) { return pc_variable_init(&running, "pitcrew.session"); }

PyObject *pc_session_enter(uint64_t id) { return pc_variable_set(running, PyLong_FromUnsignedLongLong(id)); }

void pc_session_leave(PyObject *token) { pc_variable_reset(running, token); }

int pc_session_hide(void) {
    PyObject *id = NULL;
    if (PyContextVar_Get(running, Py_None, &id) < 0) {
        return -1;
    }
    int any = id != Py_None;
    Py_DECREF(id);
    PyObject *token = any ? PyContextVar_Set(running, Py_None) : NULL;
    Py_XDECREF(token);
    return any && token == NULL ? -1 : 0;
}

PyObject *pc_session_id(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    PyObject *id;
    if (PyContextVar_Get(running, NULL, &id) < 0) {
        return NULL;
    }
    if (id == Py_None) {
        Py_CLEAR(id);
    }
    if (id == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "there is no session here: this code was not called through one");
    }
    return id;
}

PyObject *pc_session_state(PyObject *module, PyObject *none) {
    PyObject *id = pc_session_id(module, none);
    if (id == NULL || (states == NULL && (states = PyDict_New()) == NULL)) {
        Py_XDECREF(id);
        return NULL;
    }
    PyObject *state = Py_XNewRef(PyDict_GetItemWithError(states, id));
    if (state == NULL && !PyErr_Occurred() && (state = PyDict_New()) != NULL && PyDict_SetItem(states, id, state) < 0) {
        Py_CLEAR(state);
    }
    Py_DECREF(id);
    return state;
}

int pc_session_drop(uint64_t id) {
    PyObject *number = PyLong_FromUnsignedLongLong(id);
    /* Owned, so that it goes when the table has been changed: a destructor may run any code. */
    PyObject *state = number == NULL || states == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(states, number));
    int result = PyErr_Occurred() ? -1 : state == NULL ? 0 : PyDict_DelItem(states, number);
    Py_XDECREF(state);
    Py_XDECREF(number);
    return result;
}

PyObject *pc_session_count(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    return PyLong_FromSsize_t(states == NULL ? 0 : PyDict_GET_SIZE(states));
}
