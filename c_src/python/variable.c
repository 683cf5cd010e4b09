/* See variable.h. */

#include "variable.h"

int pc_variable_init(PyObject **variable, const char *name) {
    if (*variable == NULL) {
        *variable = PyContextVar_New(name, NULL);
    }
    return *variable == NULL ? -1 : 0;
}

PyObject *pc_variable_set(PyObject *variable, PyObject *value) {
    PyObject *token = value == NULL ? NULL : PyContextVar_Set(variable, value);
    Py_XDECREF(value);
    return token;
}

void pc_variable_reset(PyObject *variable, PyObject *token) {
    PyObject *exception = pc_exception_take();
    if (PyContextVar_Reset(variable, token) < 0) {
        PyErr_Clear(); /* the tool has left its context in a mess, which is its own affair */
    }
    Py_DECREF(token);
    pc_exception_restore(exception);
}
