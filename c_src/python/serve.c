/*
 * The serve loop. A call ends in exactly one frame, reply or error, whatever the tool does, except for ending the process.
 * What ends the loop: end of file, a shutdown frame, an exception from a signal handler between two calls, a
 * frame that cannot be delimited, and finding itself in a process that a tool forked.
 */

#include "serve.h"

#include <errno.h>
#include <time.h>

#include "answer.h"
#include "channel.h"
#include "fault.h"
#include "guard.h"
#include "interrupt.h"
#include "request.h"
#include "side.h"
#include "turn.h"
#include "wire/json_frame.h"
#include "wire/kinds.h"

struct server {
    int fd;
    PyObject *tools;
    size_t max_frame;
    unsigned max_depth;
    struct pc_inbox in;
    struct pc_outbox out;
    struct pc_spin spin;
};

enum next { GO_ON, SHUTDOWN, END_OF_FILE, RAISED };

static int64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A tool forked and its child has come back to us instead of ending. */
static int refuse_fork(void) {
    if (!pc_guard_forked()) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "this process was forked by a tool and cannot serve calls: it must end with os._exit");
    return -1;
}

static enum next flush(struct server *s) {
    if (refuse_fork() < 0) {
        return RAISED;
    }
    int written = pc_channel_flush(&s->out, s->fd);
    return written < 0 ? RAISED : written == 0 ? END_OF_FILE : GO_ON;
}

static enum next send_fault(struct server *s, struct pc_fault *f, const struct pc_question *to, int64_t python_ns) {
    return pc_fault_write(f, &s->out, s->max_frame, to, python_ns) < 0 ? RAISED : flush(s);
}

/* Tells the exception that is set. */
static enum next send_exception(struct server *s, const char *kind, const struct pc_question *to, int64_t python_ns) {
    struct pc_fault f;
    pc_fault_take(&f, kind);
    return send_fault(s, &f, to, python_ns);
}

/* ---- The answer */

static enum next send_result(struct server *s, const struct pc_question *to, int64_t python_ns, PyObject *value) {
    struct pc_answer a;
    pc_answer_begin(&a, &s->out, s->max_frame, to, PC_KIND_REPLY, python_ns);
    if (pc_answer_value(&a, value, s->max_depth, "result") < 0) {
        const char *kind = a.status == PC_TOO_BIG ? "too_big" : "result_error";
        return refuse_fork() < 0 ? RAISED : send_exception(s, kind, to, python_ns);
    }
    return flush(s);
}

/* Arguments that do not fit are found before the callee has a frame; a TypeError from further in has a traceback. */
static const char *kind_of_exception(PyObject *exception) {
    PyObject *traceback = PyException_GetTraceback(exception);
    int fits = traceback != NULL || !PyErr_GivenExceptionMatches(exception, PyExc_TypeError);
    Py_XDECREF(traceback);
    return fits ? "tool_error" : "bad_arguments";
}

/* No code of the user's runs for this one, who wants to be rid of the call. */
static enum next send_cancelled(struct server *s, const struct pc_question *to, int64_t python_ns) {
    struct pc_fault f;
    pc_fault_say(&f, "cancelled", PyUnicode_FromString("the call was cancelled"));
    f.type = PyUnicode_FromString("Cancelled");
    PyErr_Clear();
    return send_fault(s, &f, to, python_ns);
}

static enum next send_raised(struct server *s, const struct pc_question *to, int64_t python_ns) {
    if (PyErr_ExceptionMatches(pc_Cancelled)) {
        return send_cancelled(s, to, python_ns);
    }
    PyObject *exception = pc_exception_take();
    const char *kind = kind_of_exception(exception);
    pc_exception_restore(exception);
    return send_exception(s, kind, to, python_ns);
}

/* The call has begun. */
static enum next run(struct server *s, struct pc_request *q) {
    int64_t start = now_ns();
    PyObject *result = PyObject_Vectorcall(q->tool, q->args.items, q->args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                           q->args.kwnames);
    int64_t python_ns = now_ns() - start;
    if (refuse_fork() < 0) {
        Py_XDECREF(result);
        return RAISED;
    }
    pc_turn_end(); /* from here on nothing is interrupted: neither our code nor the next call */
    if (result == NULL) {
        return send_raised(s, &q->from, python_ns);
    }
    enum next next = send_result(s, &q->from, python_ns, result);
    if (PyCoro_CheckExact(result)) { /* nobody will await it: spare the user the warning */
        PyObject *exception = pc_exception_take();
        PyObject *closed = PyObject_CallMethod(result, "close", NULL);
        PyErr_Clear();
        Py_XDECREF(closed);
        if (exception != NULL) {
            pc_exception_restore(exception);
        }
    }
    Py_DECREF(result);
    return next;
}

static enum next refuse_request(struct server *s, struct pc_request *q) {
    const char *kind = PyErr_ExceptionMatches(pc_ProtocolError)  ? "protocol_error"
                       : PyErr_ExceptionMatches(PyExc_TypeError) ? "bad_arguments"
                                                                 : "decode_error";
    return send_exception(s, kind, &q->from, 0);
}

static enum next refuse_tool(struct server *s, struct pc_request *q) {
    struct pc_fault f;
    pc_fault_say(&f, "unknown_tool", pc_fault_unknown_tool(q->name, s->tools));
    return send_fault(s, &f, &q->from, 0);
}

/* `read` is what came of reading it. A call that is refused has begun too, for an instant: it is answered, or was cancelled before. */
static enum next handle_call(struct server *s, struct pc_request *q, int read) {
    pc_inbox_consume(&s->in); /* everything was copied out; a large frame must not stay while the tool runs */
    enum next next = GO_ON;
    if (refuse_fork() < 0) {
        next = RAISED;
    } else if (!pc_turn_begin(q->from.id)) {
        PyErr_Clear();
    } else if (read == 0 && q->tool != NULL) {
        next = run(s, q);
    } else {
        pc_turn_end();
        next = read < 0 ? refuse_request(s, q) : refuse_tool(s, q);
    }
    pc_request_clear(q);
    return next;
}

/* ---- Frames */

static enum next handle_other(struct server *s, int64_t kind, const struct pc_question *from) {
    pc_inbox_consume(&s->in);
    if (kind == PC_KIND_SHUTDOWN) {
        return SHUTDOWN;
    }
    if (kind == PC_KIND_ERROR) { /* never answered with an error */
        return GO_ON;
    }
    struct pc_fault f;
    pc_fault_say(
        &f, "unknown_kind",
        PyUnicode_FromFormat("this worker does not know frames of kind %lld on its call channel", (long long)kind));
    return send_fault(s, &f, from, 0);
}

static enum next refuse_frame(void) {
    PyErr_SetString(pc_ProtocolError, "a frame is not an array that starts with a kind and an id");
    return RAISED;
}

static enum next handle_packed(struct server *s, struct pc_decoder *d) {
    struct pc_token array, kind, id;
    if (pc_decode_token(d, &array) < 0 || array.type != PC_ARRAY || array.len < 2 || pc_decode_token(d, &kind) < 0 ||
        kind.type != PC_INT || pc_decode_token(d, &id) < 0 ||
        !((id.type == PC_INT && id.i >= 0) || id.type == PC_UINT)) {
        return refuse_frame();
    }
    const struct pc_question from = {.id = id.u, .json = false};
    if (kind.i != PC_KIND_CALL) {
        return handle_other(s, kind.i, &from);
    }
    struct pc_request q;
    pc_request_init(&q, &from);
    return handle_call(s, &q, pc_request_read(&q, d, s->tools));
}

static enum next handle_json(struct server *s, const uint8_t *payload, size_t n) {
    struct pc_json_head head;
    if (!pc_json_head_read(payload, n, &head)) {
        return refuse_frame();
    }
    const struct pc_question from = {.id = head.id, .json = true};
    if (head.kind != PC_KIND_CALL) {
        return handle_other(s, head.kind, &from);
    }
    struct pc_request q;
    pc_request_init(&q, &from);
    return handle_call(s, &q, pc_request_read_json(&q, payload, n, s->max_depth, s->tools));
}

static enum next handle_frame(struct server *s, const uint8_t *payload, size_t n) {
    if (pc_frame_is_json(payload, n)) {
        return handle_json(s, payload, n);
    }
    struct pc_decoder d;
    /* The frame's own array is not one of the containers that the limit counts. */
    pc_decoder_init(&d, payload, n, s->max_depth);
    enum next next = handle_packed(s, &d);
    pc_decoder_destroy(&d);
    return next;
}

static enum next serve_one(struct server *s) {
    const uint8_t *payload;
    size_t n;
    int got = pc_channel_next(&s->in, s->fd, s->max_frame, &s->spin, &payload, &n);
    if (got <= 0) {
        return got == 0 ? END_OF_FILE : RAISED;
    }
    return handle_frame(s, payload, n);
}

static PyObject *serve(struct server *s) {
    enum next next = GO_ON;
    while (next == GO_ON) {
        next = serve_one(s);
    }
    if (next == RAISED) {
        return NULL;
    }
    return PyUnicode_FromString(next == SHUTDOWN ? "shutdown" : "eof");
}

/* ---- Module functions */

/* run and read_tool take entries apart without looking. */
static int check_tools(PyObject *tools) {
    Py_ssize_t at = 0;
    PyObject *name, *entry;
    while (PyDict_Next(tools, &at, &name, &entry)) {
        if (!PyUnicode_Check(name) || !PyTuple_CheckExact(entry) || PyTuple_GET_SIZE(entry) != 2 ||
            !PyCallable_Check(PyTuple_GET_ITEM(entry, 0)) ||
            !(PyTuple_GET_ITEM(entry, 1) == Py_None || PyDict_CheckExact(PyTuple_GET_ITEM(entry, 1)))) {
            PyErr_SetString(PyExc_TypeError, "tools: a dict from str to (callable, dict or None)");
            return -1;
        }
    }
    return 0;
}

static int refuse_start(void) {
    if (refuse_fork() < 0) {
        return -1;
    }
    if (pc_guard_armed()) {
        PyErr_SetString(PyExc_RuntimeError, "this process serves already");
        return -1;
    }
    return 0;
}

static int start(int call_fd, int side_fd) {
    pc_turn_open(pc_interrupt_install());
    int error = pc_guard_arm(call_fd, side_fd);
    if (error == 0) {
        error = pc_side_start(side_fd);
    }
    if (error != 0) {
        pc_guard_disarm();
        errno = -error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

PyObject *pc_serve(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"call_fd", "side_fd", "tools", "max_frame", "max_depth", "spin_us", NULL};
    struct server s = {.max_depth = PC_MAX_DEPTH};
    int side;
    Py_ssize_t max_frame = PC_MAX_FRAME;
    unsigned spin_us = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiO!|nII:serve", names, &s.fd, &side, &PyDict_Type, &s.tools,
                                     &max_frame, &s.max_depth, &spin_us)) {
        return NULL;
    }
    s.max_frame = (size_t)max_frame;
    s.spin.limit_ns = (int64_t)spin_us * 1000;
    if (s.max_depth > PC_MAX_DEPTH) {
        s.max_depth = PC_MAX_DEPTH;
    }
    s.tools = PyDict_Copy(s.tools); /* nobody can change what was checked */
    if (s.tools == NULL || refuse_start() < 0 || check_tools(s.tools) < 0 || start(s.fd, side) < 0) {
        Py_XDECREF(s.tools);
        return NULL;
    }
    pc_inbox_init(&s.in);
    pc_outbox_init(&s.out);
    PyObject *result = serve(&s);
    if (!pc_guard_forked()) { /* a forked child has neither the thread nor the sockets */
        pc_side_stop();
        pc_guard_disarm();
    }
    pc_inbox_destroy(&s.in);
    pc_outbox_destroy(&s.out);
    Py_DECREF(s.tools);
    return result;
}
