/* Answers. In a process that a tool forked nothing is sent, whatever has happened in it. */

#include "respond.h"

#include "batch.h"
#include "channel.h"
#include "function_alone.h"
#include "guard.h"
#include "hold.h"
#include "lazy.h"
#include "limits.h"

int pc_respond_forked(void) {
    if (!pc_guard_forked()) {
        return 0;
    }
    if (PyErr_Occurred() == NULL) { /* sys.exit says how it wants to end */
        PyErr_SetString(PyExc_RuntimeError,
                        "this process was forked by a tool and cannot serve calls: it must end with os._exit");
    }
    return -1;
}

enum pc_next pc_respond_flush(struct pc_responder *r) {
    while (pc_hold_any()) {
        if (pc_respond_forked() < 0) { /* also by a signal handler while we wait */
            return PC_RAISED;
        }
        enum pc_io put = pc_hold_flush();
        if (put == PC_IO_EOF) {
            return PC_END_OF_FILE;
        }
        if (put == PC_IO_AGAIN && pc_channel_wait_room(r->fd) < 0) {
            return PC_RAISED;
        }
    }
    return PC_GO_ON;
}

bool pc_respond_hold(struct pc_responder *r) {
    if (!pc_hold_put(r->out.w.data, r->out.w.len)) {
        return false;
    }
    pc_outbox_undo(&r->out, 0);
    return true;
}

enum pc_io pc_respond_try(struct pc_responder *r) {
    enum pc_io put = PC_IO_DONE;
    if (r->out.sent == 0) {
        put = pc_function_flush();
        if (put == PC_IO_DONE && pc_hold_any()) {
            put = pc_hold_flush();
        }
    }
    return put == PC_IO_DONE ? pc_outbox_flush(&r->out, r->fd) : put;
}

static enum pc_next send_now(struct pc_responder *r) {
    size_t n = pc_outbox_pending(&r->out);
    for (;;) {
        enum pc_io put = pc_respond_try(r);
        if (put == PC_IO_DONE) {
            pc_hold_count(n);
            return PC_GO_ON;
        }
        if (put == PC_IO_EOF) {
            return PC_END_OF_FILE;
        }
        if (pc_channel_wait_room(r->fd) < 0) {
            return PC_RAISED;
        }
    }
}

enum pc_next pc_respond_pour(struct pc_responder *r) {
    int flow = pc_outflow_put(r->flow, &r->out);
    if (flow == PC_FLOW_WAITS && r->may_wait) {
        flow = pc_outflow_wait(r->flow);
    }
    return flow < 0 ? PC_RAISED : flow == PC_FLOW_GONE ? PC_END_OF_FILE : PC_GO_ON;
}

/* The frame that is in the outbox. */
static enum pc_next answer(struct pc_responder *r, int64_t python_ns) {
    if (pc_respond_forked() < 0) {
        return PC_RAISED;
    }
    if (r->flow != NULL) {
        return pc_respond_pour(r);
    }
    bool any = pc_hold_any();
    r->held_ns = any ? r->held_ns + python_ns : python_ns;
    bool wait = r->held_ns < PC_QUICK_NS && pc_hold_is_safe() && pc_inbox_whole(&r->in);
    if ((wait || any) && pc_respond_hold(r)) {
        return wait ? PC_GO_ON : pc_respond_flush(r);
    }
    enum pc_next next = pc_respond_flush(r);
    return next == PC_GO_ON ? send_now(r) : next;
}

enum pc_next pc_respond_fault(struct pc_responder *r, struct pc_fault *f, const struct pc_question *to,
                              int64_t python_ns) {
    return pc_fault_write(f, &r->out, r->max_frame, to, python_ns) < 0 ? PC_RAISED : answer(r, python_ns);
}

enum pc_next pc_respond_exception(struct pc_responder *r, const char *kind, const struct pc_question *to,
                                  int64_t python_ns) {
    struct pc_fault f;
    pc_limits_relax(); /* it may tell of memory that ran out */
    pc_fault_take(&f, kind);
    enum pc_next next = pc_respond_fault(r, &f, to, python_ns);
    pc_limits_restore();
    return next;
}

/* A new reference to what is to be sent for a result. */
static PyObject *told(const struct pc_question *to, PyObject *value) {
    if (!to->ref || pc_lazy_is(value, PC_LAZY_REF) > 0) {
        return Py_NewRef(value);
    }
    if (pc_batch_is(value)) {
        return pc_batch_refer(value) < 0 ? NULL : Py_NewRef(value);
    }
    PyObject *make = pc_lazy_get(PC_LAZY_REF);
    return make == NULL ? NULL : PyObject_CallOneArg(make, value);
}

enum pc_next pc_respond_value(struct pc_responder *r, const struct pc_question *to, int64_t python_ns,
                              PyObject *value) {
    struct pc_answer a;
    PyObject *sent = told(to, value);
    pc_answer_begin(&a, &r->out, r->max_frame, to, PC_KIND_REPLY, python_ns);
    int failed = sent == NULL || pc_answer_value(&a, sent, r->max_depth, "result") < 0;
    if (sent == NULL) {
        pc_outbox_undo(&r->out, a.mark);
    }
    Py_XDECREF(sent);
    if (failed) {
        const char *kind = a.status == PC_TOO_BIG ? "too_big" : "result_error";
        return pc_respond_forked() < 0 ? PC_RAISED : pc_respond_exception(r, kind, to, python_ns);
    }
    return answer(r, python_ns);
}

/* Arguments that do not fit are found before the callee has a frame; a TypeError from further in has a traceback. */
const char *pc_respond_kind(void) {
    PyObject *exception = pc_exception_take();
    PyObject *traceback = PyException_GetTraceback(exception);
    int fits = traceback != NULL || !PyErr_GivenExceptionMatches(exception, PyExc_TypeError);
    Py_XDECREF(traceback);
    pc_exception_restore(exception);
    return fits ? "tool_error" : "bad_arguments";
}

/* No code of the user's runs for this one, who wants to be rid of the call. */
static enum pc_next send_cancelled(struct pc_responder *r, const struct pc_question *to, int64_t python_ns) {
    struct pc_fault f;
    PyErr_Clear();
    pc_fault_say(&f, "cancelled", PyUnicode_FromString("the call was cancelled"));
    f.type = PyUnicode_FromString("Cancelled");
    PyErr_Clear();
    return pc_respond_fault(r, &f, to, python_ns);
}

enum pc_next pc_respond_refused(struct pc_responder *r, const struct pc_question *to, int64_t python_ns) {
    struct pc_fault f;
    pc_fault_take_refusal(&f);
    return pc_respond_fault(r, &f, to, python_ns);
}

enum pc_next pc_respond_raised(struct pc_responder *r, const struct pc_question *to, int64_t python_ns) {
    if (PyErr_ExceptionMatches(pc_Cancelled)) {
        return send_cancelled(r, to, python_ns);
    }
    pc_limits_relax();
    if (PyErr_ExceptionMatches(pc_Refused)) {
        return pc_respond_refused(r, to, python_ns);
    }
    return pc_respond_exception(r, pc_respond_kind(), to, python_ns);
}
