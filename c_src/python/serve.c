/*
 * The serve loop. A call ends in exactly one frame, reply or error, whatever the tool does, except for ending the process.
 * What ends the loop: end of file, a shutdown frame, an exception from a signal handler between two calls, a
 * frame that cannot be delimited, and finding itself in a process that a tool forked.
 */

#include "serve.h"

#include <errno.h>
#include <unistd.h>

#include "channel.h"
#include "deadline.h"
#include "guard.h"
#include "hold.h"
#include "interrupt.h"
#include "published.h"
#include "records.h"
#include "refs.h"
#include "request.h"
#include "respond.h"
#include "session.h"
#include "side.h"
#include "turn.h"
#include "upkeep.h"
#include "vitals.h"
#include "wire/clock.h"
#include "wire/json_frame.h"
#include "wire/kinds.h"

struct server {
    struct pc_tools tools;
    struct pc_spin spin;
    struct pc_responder to;
};

/* The call has begun. */
static enum pc_next run(struct server *s, struct pc_request *q) {
    pc_published_set(q->from.id);
    pc_deadline_set(q->deadline_ns);
    int64_t start = pc_clock_ns();
    PyObject *result = pc_request_call(q);
    int64_t python_ns = pc_clock_ns() - start;
    pc_deadline_set(PC_NO_DEADLINE);
    if (pc_respond_forked() < 0) {
        Py_XDECREF(result);
        return PC_RAISED;
    }
    pc_turn_end(); /* from here on nothing is interrupted: neither our code nor the next call */
    if (result == NULL) {
        return pc_respond_raised(&s->to, &q->from, python_ns);
    }
    enum pc_next next = pc_respond_value(&s->to, &q->from, python_ns, result);
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

static enum pc_next refuse_request(struct server *s, struct pc_request *q) {
    if (PyErr_ExceptionMatches(pc_Refused)) {
        return pc_respond_refused(&s->to, &q->from, 0);
    }
    const char *kind = PyErr_ExceptionMatches(pc_ProtocolError)  ? "protocol_error"
                       : PyErr_ExceptionMatches(PyExc_TypeError) ? "bad_arguments"
                                                                 : "decode_error";
    return pc_respond_exception(&s->to, kind, &q->from, 0);
}

static enum pc_next refuse_tool(struct server *s, struct pc_request *q) {
    struct pc_fault f;
    pc_fault_say(&f, "unknown_tool", pc_fault_unknown_tool(q->name, s->tools.known));
    return pc_respond_fault(&s->to, &f, &q->from, 0);
}

/* `read` is what came of reading it. A call that is refused has begun too, for an instant: it is answered, or was cancelled before. */
static enum pc_next handle_call(struct server *s, struct pc_request *q, int read) {
    pc_inbox_consume(&s->to.in); /* everything was copied out; a large frame must not stay while the tool runs */
    enum pc_next next = PC_GO_ON;
    if (pc_respond_forked() < 0) {
        next = PC_RAISED;
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

static int forget_refs(struct pc_reader *r) {
    uint32_t n;
    uint64_t call;
    int64_t index;
    if (pc_read_array(r, &n) != PC_OK) {
        return -1;
    }
    for (uint32_t i = 0; i + 1 < n; i += 2) {
        if (pc_read_uint(r, &call) != PC_OK || pc_read_int(r, &index) != PC_OK || pc_refs_drop(call, index) < 0) {
            return -1;
        }
    }
    return 0;
}

static int forget_sessions(struct pc_reader *r) {
    uint32_t n;
    uint64_t id;
    if (pc_read_array(r, &n) != PC_OK) {
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (pc_read_uint(r, &id) != PC_OK || pc_session_drop(id) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The VM needs objects and sessions no more. It comes behind the calls that may have used them, and is not answered. */
static enum pc_next handle_forget(struct server *s, struct pc_decoder *d) {
    if (forget_refs(&d->r) < 0 || forget_sessions(&d->r) < 0) {
        PyErr_Clear(); /* no memory for it, or a frame that is wrong: what it was about stays */
    }
    pc_inbox_consume(&s->to.in);
    return pc_respond_forked() < 0 ? PC_RAISED : PC_GO_ON;
}

static enum pc_next handle_other(struct server *s, int64_t kind, const struct pc_question *from) {
    pc_inbox_consume(&s->to.in);
    if (kind == PC_KIND_SHUTDOWN) {
        return PC_SHUTDOWN;
    }
    if (kind == PC_KIND_ERROR) { /* never answered with an error */
        return PC_GO_ON;
    }
    struct pc_fault f;
    pc_fault_say(
        &f, "unknown_kind",
        PyUnicode_FromFormat("this worker does not know frames of kind %lld on its call channel", (long long)kind));
    return pc_respond_fault(&s->to, &f, from, 0);
}

static enum pc_next refuse_frame(void) {
    PyErr_SetString(pc_ProtocolError, "a frame is not an array that starts with a kind and an id");
    return PC_RAISED;
}

static enum pc_next handle_packed(struct server *s, struct pc_decoder *d) {
    struct pc_token array, kind, id;
    if (pc_decode_token(d, &array) < 0 || array.type != PC_ARRAY || array.len < 2 || pc_decode_token(d, &kind) < 0 ||
        kind.type != PC_INT || pc_decode_token(d, &id) < 0 ||
        !((id.type == PC_INT && id.i >= 0) || id.type == PC_UINT)) {
        return refuse_frame();
    }
    const struct pc_question from = {.id = id.u, .json = false};
    if (kind.i == PC_KIND_FORGET) {
        return handle_forget(s, d);
    }
    if (kind.i != PC_KIND_CALL) {
        return handle_other(s, kind.i, &from);
    }
    struct pc_request q;
    pc_request_init(&q, &from);
    return handle_call(s, &q, pc_request_read(&q, d, &s->tools));
}

static enum pc_next handle_json(struct server *s, const uint8_t *payload, size_t n) {
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
    return handle_call(s, &q, pc_request_read_json(&q, payload, n, s->to.max_depth, &s->tools));
}

static enum pc_next handle_frame(struct server *s, const uint8_t *payload, size_t n) {
    if (pc_frame_is_json(payload, n)) {
        return handle_json(s, payload, n);
    }
    struct pc_decoder d;
    /* The frame's own array is not one of the containers that the limit counts. */
    pc_decoder_init(&d, payload, n, s->to.max_depth);
    enum pc_next next = handle_packed(s, &d);
    pc_decoder_destroy(&d);
    return next;
}

static enum pc_next serve_one(struct server *s) {
    const uint8_t *payload;
    size_t n;
    if (!pc_inbox_whole(&s->to.in)) {
        enum pc_next next = pc_respond_flush(&s->to);
        if (next != PC_GO_ON) {
            return next;
        }
        pc_upkeep_trim();
    }
    int got = pc_channel_next(&s->to.in, s->to.fd, s->to.max_frame, &s->spin, &payload, &n);
    if (got <= 0) {
        return got == 0 ? PC_END_OF_FILE : PC_RAISED;
    }
    return handle_frame(s, payload, n);
}

static PyObject *serve(struct server *s) {
    enum pc_next next = PC_GO_ON;
    while (next == PC_GO_ON) {
        next = serve_one(s);
    }
    if (next == PC_SHUTDOWN) {
        enum pc_next sent = pc_respond_flush(&s->to);
        next = sent == PC_GO_ON ? next : sent;
    }
    if (next == PC_RAISED) { /* the side thread sends what is held when it ends, or leaves it to the VM */
        return NULL;
    }
    return PyUnicode_FromString(next == PC_SHUTDOWN ? "shutdown" : "eof");
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
    if (pc_respond_forked() < 0) {
        return -1;
    }
    if (pc_guard_armed()) {
        PyErr_SetString(PyExc_RuntimeError, "this process serves already");
        return -1;
    }
    return 0;
}

static int start(int call_fd, int side_fd, int started_fd, unsigned log_credit) {
    pc_turn_open(pc_interrupt_install());
    pc_vitals_open(pc_upkeep_poke);
    pc_records_open(log_credit);
    int error = pc_published_open(started_fd);
    if (error == 0) {
        pc_hold_open(pc_published_memory(), call_fd);
        error = pc_guard_arm(call_fd, side_fd);
    }
    if (error == 0) {
        error = pc_side_start(side_fd);
    }
    if (error != 0) {
        pc_guard_disarm();
        pc_hold_close();
        pc_records_close();
        pc_published_close();
        errno = -error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

PyObject *pc_serve(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"call_fd", "side_fd",    "tools",      "max_frame", "max_depth",
                            "spin_us", "started_fd", "log_credit", "missing",   NULL};
    struct server s = {.to = {.max_depth = PC_MAX_DEPTH}};
    int side, started_fd = -1;
    Py_ssize_t max_frame = PC_MAX_FRAME;
    unsigned spin_us = 0, log_credit = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiO!|nIIiIO:serve", names, &s.to.fd, &side, &PyDict_Type,
                                     &s.tools.known, &max_frame, &s.to.max_depth, &spin_us, &started_fd, &log_credit,
                                     &s.tools.missing)) {
        return NULL;
    }
    s.to.max_frame = (size_t)max_frame;
    s.spin.limit_ns = (int64_t)spin_us * 1000;
    if (s.to.max_depth > PC_MAX_DEPTH) {
        s.to.max_depth = PC_MAX_DEPTH;
    }
    s.tools.known = PyDict_Copy(s.tools.known); /* nobody can change what was checked */
    int started = s.tools.known != NULL && refuse_start() == 0 && check_tools(s.tools.known) == 0 &&
                  start(s.to.fd, side, started_fd, log_credit) == 0;
    if (started_fd >= 0) {
        (void)close(started_fd);
    }
    if (!started) {
        Py_XDECREF(s.tools.known);
        return NULL;
    }
    pc_inbox_init(&s.to.in);
    pc_outbox_init(&s.to.out);
    PyObject *result = serve(&s);
    if (!pc_guard_forked()) { /* a forked child has neither the thread nor the sockets nor the page */
        pc_side_stop();
        pc_guard_disarm();
        pc_hold_close();
        pc_records_close();
        pc_published_close();
    }
    pc_inbox_destroy(&s.to.in);
    pc_outbox_destroy(&s.to.out);
    Py_DECREF(s.tools.known);
    return result;
}
