/* See context.h. A call with neither session nor trace pays two comparisons. */

#include "context.h"

#include "lazy.h"
#include "session.h"
#include "variable.h"

static PyObject *trace; /* context variable */

int pc_context_init(PyObject *module) {
    return pc_variable_init(&trace, "pitcrew.trace") < 0 ? -1 : PyModule_AddObjectRef(module, "trace", trace);
}

PyObject *pc_context_traceparent(void) {
    PyObject *pair = NULL;
    if (PyContextVar_Get(trace, NULL, &pair) < 0 || pair == NULL) {
        return NULL;
    }
    PyObject *parent =
        PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) > 0 ? Py_NewRef(PyTuple_GET_ITEM(pair, 0)) : NULL;
    Py_DECREF(pair);
    return parent;
}

static int enter_trace(PyObject *pair, struct pc_context *c) {
    c->trace = pc_variable_set(trace, Py_NewRef(pair));
    PyObject *attach = c->trace == NULL ? NULL : pc_lazy_get(PC_LAZY_TRACE_ATTACH);
    c->attached = attach == NULL ? NULL : PyObject_CallOneArg(attach, pair);
    return c->attached == NULL ? -1 : 0;
}

int pc_context_enter(const struct pc_request *q, struct pc_context *c) {
    *c = (struct pc_context){NULL, NULL, NULL};
    if (q->session != 0 && (c->session = pc_session_enter(q->session)) == NULL) {
        return -1;
    }
    if (q->trace != NULL && enter_trace(q->trace, c) < 0) {
        pc_context_leave(c);
        return -1;
    }
    return 0;
}

static void leave_trace(struct pc_context *c) {
    PyObject *exception = pc_exception_take();
    if (c->attached != NULL && c->attached != Py_None) {
        PyObject *detach = pc_lazy_get(PC_LAZY_TRACE_DETACH);
        PyObject *done = detach == NULL ? NULL : PyObject_CallOneArg(detach, c->attached);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    pc_variable_reset(trace, c->trace);
    Py_XDECREF(c->attached);
    pc_exception_restore(exception);
}

void pc_context_leave(struct pc_context *c) {
    if (c->trace != NULL) {
        leave_trace(c);
    }
    if (c->session != NULL) {
        pc_session_leave(c->session);
    }
}
