/* See interrupt.h. */

#include "interrupt.h"

#include "driver.h"
#include "guard.h"
#include "turn.h"
#include "upkeep.h"

static PyObject *handler;

static PyObject *on_signal(PyObject *self, PyObject *args) {
    (void)self;
    (void)args;
    if (pc_guard_forked() || !pc_turn_interrupted()) {
        if (!pc_guard_forked()) {
            pc_upkeep_woken();
        }
        return Py_NewRef(Py_None);
    }
    int told = pc_driver_interrupt_run();
    if (told != 0) {
        return told < 0 ? NULL : Py_NewRef(Py_None);
    }
    PyObject *class = pc_driver_cancelled();
    if (class != NULL) {
        PyErr_SetString(class, "the call was cancelled");
    }
    return NULL;
}

/* The words are what `signal` calls them, without its enums, whose import is slow. 1, 0 or -1. */
static int is_ours_to_take(PyObject *signals) {
    PyObject *now = PyObject_CallMethod(signals, "getsignal", "i", PC_TURN_SIGNAL);
    if (now == NULL) {
        return -1;
    }
    long number = PyLong_Check(now) ? PyLong_AsLong(now) : -1;
    int result = now == handler || number == (long)(intptr_t)SIG_DFL || number == (long)(intptr_t)SIG_IGN;
    Py_DECREF(now);
    return result;
}

int pc_interrupt_install(void) {
    static PyMethodDef definition = {"interrupt", on_signal, METH_VARARGS,
                                     "Raises Cancelled in a call that was cancelled."};
    if (handler == NULL) {
        handler = PyCFunction_New(&definition, NULL);
    }
    PyObject *signals = handler == NULL ? NULL : PyImport_ImportModule("_signal");
    int result = signals == NULL ? -1 : is_ours_to_take(signals);
    if (result > 0) {
        PyObject *before = PyObject_CallMethod(signals, "signal", "iO", PC_TURN_SIGNAL, handler);
        result = before == NULL ? -1 : 1;
        Py_XDECREF(before);
    }
    Py_XDECREF(signals);
    if (result < 0) {
        PyErr_Clear(); /* on another thread than the main one, signal.signal refuses */
        return 0;
    }
    return result;
}
