/* See current.h. */

#include "current.h"

#include "variable.h"

static _Thread_local uint64_t running; /* 0: none */
static _Thread_local PyObject *tool;   /* borrowed; its name */
static PyObject *variable;             /* of a pair, or not set */

void pc_current_set(uint64_t id, PyObject *name) {
    running = id;
    tool = name;
}

int pc_current_init(void) { return pc_variable_init(&variable, "pitcrew.call"); }

PyObject *pc_current_put(uint64_t id, PyObject *name) {
    return pc_variable_set(variable, Py_BuildValue("KO", (unsigned long long)id, name));
}

void pc_current_restore(PyObject *token) { pc_variable_reset(variable, token); }

int pc_current_call(uint64_t *id, PyObject **name) {
    PyObject *value = NULL;
    *id = running;
    *name = Py_XNewRef(tool);
    if (*id == 0 && PyContextVar_Get(variable, NULL, &value) < 0) {
        return -1;
    }
    if (value != NULL) {
        *id = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(value, 0));
        *name = Py_NewRef(PyTuple_GET_ITEM(value, 1));
        Py_DECREF(value);
    }
    return 0;
}

int pc_current(uint64_t *id) {
    PyObject *name;
    int result = pc_current_call(id, &name);
    Py_XDECREF(name);
    return result;
}
