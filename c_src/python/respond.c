/* Answers. In a process that a tool forked nothing is sent, whatever has happened in it. */

#include "respond.h"

#include "channel.h"
#include "guard.h"

int pc_respond_forked(void) {
    if (!pc_guard_forked()) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "this process was forked by a tool and cannot serve calls: it must end with os._exit");
    return -1;
}

static enum pc_next flush(struct pc_responder *r) {
    if (pc_respond_forked() < 0) {
        return PC_RAISED;
    }
    int written = pc_channel_flush(&r->out, r->fd);
    return written < 0 ? PC_RAISED : written == 0 ? PC_END_OF_FILE : PC_GO_ON;
}

enum pc_next pc_respond_fault(struct pc_responder *r, struct pc_fault *f, const struct pc_question *to,
                              int64_t python_ns) {
    return pc_fault_write(f, &r->out, r->max_frame, to, python_ns) < 0 ? PC_RAISED : flush(r);
}

enum pc_next pc_respond_exception(struct pc_responder *r, const char *kind, const struct pc_question *to,
                                  int64_t python_ns) {
    struct pc_fault f;
    pc_fault_take(&f, kind);
    return pc_respond_fault(r, &f, to, python_ns);
}

enum pc_next pc_respond_value(struct pc_responder *r, const struct pc_question *to, int64_t python_ns,
                              PyObject *value) {
    struct pc_answer a;
    pc_answer_begin(&a, &r->out, r->max_frame, to, PC_KIND_REPLY, python_ns);
    if (pc_answer_value(&a, value, r->max_depth, "result") < 0) {
        const char *kind = a.status == PC_TOO_BIG ? "too_big" : "result_error";
        return pc_respond_forked() < 0 ? PC_RAISED : pc_respond_exception(r, kind, to, python_ns);
    }
    return flush(r);
}

/* Arguments that do not fit are found before the callee has a frame; a TypeError from further in has a traceback. */
static const char *kind_of_exception(PyObject *exception) {
    PyObject *traceback = PyException_GetTraceback(exception);
    int fits = traceback != NULL || !PyErr_GivenExceptionMatches(exception, PyExc_TypeError);
    Py_XDECREF(traceback);
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

enum pc_next pc_respond_raised(struct pc_responder *r, const struct pc_question *to, int64_t python_ns) {
    if (PyErr_ExceptionMatches(pc_Cancelled)) {
        return send_cancelled(r, to, python_ns);
    }
    PyObject *exception = pc_exception_take();
    const char *kind = kind_of_exception(exception);
    pc_exception_restore(exception);
    return pc_respond_exception(r, kind, to, python_ns);
}
