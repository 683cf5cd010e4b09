/* See deadline.h. */

#include "deadline.h"

static _Thread_local int64_t deadline_ns = PC_NO_DEADLINE;

void pc_deadline_set(int64_t at_ns) { deadline_ns = at_ns; }

PyObject *pc_deadline(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    if (deadline_ns == PC_NO_DEADLINE) {
        return Py_NewRef(Py_None);
    }
    int64_t now = pc_clock_ns();
    return PyFloat_FromDouble(deadline_ns > now ? (double)(deadline_ns - now) / 1e9 : 0.0);
}
