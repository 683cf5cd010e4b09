/* See current.h. */

#include "current.h"

static _Thread_local uint64_t running; /* 0: none */
static PyObject *variable;             /* of int, or not set */

void pc_current_set(uint64_t id) { running = id; }

int pc_current_init(void) {
    if (variable == NULL) {
        variable = PyContextVar_New("pitcrew.call", NULL);
    }
    return variable == NULL ? -1 : 0;
}

PyObject *pc_current_put(uint64_t id) {
    PyObject *value = PyLong_FromUnsignedLongLong(id);
    PyObject *token = value == NULL ? NULL : PyContextVar_Set(variable, value);
    Py_XDECREF(value);
    return token;
}

void pc_current_restore(PyObject *token) {
    PyObject *exception = pc_exception_take();
    (void)PyContextVar_Reset(variable, token);
    PyErr_Clear();
    Py_DECREF(token);
    pc_exception_restore(exception);
}

int pc_current(uint64_t *id) {
    PyObject *value = NULL;
    *id = running;
    if (*id == 0 && PyContextVar_Get(variable, NULL, &value) < 0) {
        return -1;
    }
    if (value != NULL) {
        *id = PyLong_AsUnsignedLongLong(value);
        Py_DECREF(value);
    }
    return PyErr_Occurred() ? -1 : 0;
}
