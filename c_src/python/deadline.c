/* See deadline.h. */

#include "deadline.h"

#include "variable.h"

static _Thread_local int64_t deadline_ns = PC_NO_DEADLINE;

void pc_deadline_set(int64_t at_ns) { deadline_ns = at_ns; }

int64_t pc_deadline_get(void) { return deadline_ns; }

static PyObject *variable; /* of int, or not set */

int pc_deadline_init(void) { return pc_variable_init(&variable, "pitcrew.deadline"); }

PyObject *pc_deadline_put(int64_t at_ns) { return pc_variable_set(variable, PyLong_FromLongLong(at_ns)); }

void pc_deadline_restore(PyObject *token) { pc_variable_reset(variable, token); }

/* -1 with an exception. */
static int find(int64_t *at_ns) {
    PyObject *value = NULL;
    *at_ns = deadline_ns;
    if (*at_ns == PC_NO_DEADLINE && PyContextVar_Get(variable, NULL, &value) < 0) {
        return -1;
    }
    if (value != NULL) {
        *at_ns = PyLong_AsLongLong(value);
        Py_DECREF(value);
    }
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *pc_deadline(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    int64_t at_ns;
    if (find(&at_ns) < 0) {
        return NULL;
    }
    if (at_ns == PC_NO_DEADLINE) {
        return Py_NewRef(Py_None);
    }
    int64_t now = pc_clock_ns();
    return PyFloat_FromDouble(at_ns > now ? (double)(at_ns - now) / 1e9 : 0.0);
}
