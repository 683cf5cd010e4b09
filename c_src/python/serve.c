/*
 * The serve loop. A call ends in exactly one frame, reply or error, whatever the tool does, except for ending the process.
 * What ends the loop: end of file, a shutdown frame, an exception from a signal handler between two calls, a
 * frame that cannot be delimited, and finding itself in a process that a tool forked.
 */

#include "serve.h"

#include <errno.h>
#include <unistd.h>

#include "aside.h"
#include "attendant.h"
#include "buffers.h"
#include "channel.h"
#include "context.h"
#include "crowd.h"
#include "deadline.h"
#include "driver.h"
#include "function_alone.h"
#include "guard.h"
#include "hold.h"
#include "interrupt.h"
#include "published.h"
#include "records.h"
#include "serving.h"
#include "side.h"
#include "stream_alone.h"
#include "turn.h"
#include "upkeep.h"
#include "vitals.h"
#include "wire/clock.h"

/* Steals the coroutine, and runs it in the context of its call. */
static PyObject *await(const struct pc_request *q, PyObject *coroutine) {
    struct pc_context context;
    if (pc_context_enter(q, &context) < 0) {
        Py_DECREF(coroutine);
        return NULL;
    }
    PyObject *result = pc_driver_run(coroutine);
    pc_context_leave(&context);
    return result;
}

/* The call has begun. */
static enum pc_next run(struct pc_server *s, struct pc_request *q) {
    pc_published_set(q->from.id);
    pc_function_begin_call(q->from.id, q->name);
    pc_deadline_set(q->deadline_ns);
    int64_t start = pc_clock_ns();
    PyObject *result = pc_request_call(q);
    if (result != NULL && PyCoro_CheckExact(result)) {
        result = await(q, result);
    }
    int64_t python_ns = pc_clock_ns() - start;
    if (q->credit > 0 && result != NULL && pc_respond_forked() == 0) {
        return pc_stream_alone(s, q, result, python_ns);
    }
    pc_deadline_set(PC_NO_DEADLINE);
    if (pc_respond_forked() < 0) {
        Py_XDECREF(result);
        return PC_RAISED;
    }
    pc_turn_end(); /* from here on nothing is interrupted: neither our code nor the next call */
    enum pc_next ended = pc_function_end_call();
    if (ended != PC_GO_ON) {
        Py_XDECREF(result);
        return ended;
    }
    if (result == NULL) {
        return pc_respond_raised(&s->to, &q->from, python_ns);
    }
    pc_request_return(q);
    enum pc_next next = pc_respond_value(&s->to, &q->from, python_ns, result);
    Py_DECREF(result);
    return next;
}

/* `read` is what came of reading it. A call that is refused has begun too, for an instant: it is answered, or was cancelled before. */
static enum pc_next handle_call(struct pc_server *s, struct pc_request *q, int read) {
    bool inner = pc_function_levels() > 0; /* it runs inside of another one, and its frame is not in the inbox */
    if (!inner) {
        pc_inbox_consume(&s->to.in); /* everything was copied out; a large frame must not stay while the tool runs */
    }
    enum pc_next next = PC_GO_ON;
    if (pc_respond_forked() < 0) {
        next = PC_RAISED;
    } else if (!pc_turn_begin(q->from.id)) {
        PyErr_Clear();
    } else if (read == 0 && q->tool != NULL) {
        next = run(s, q);
    } else {
        pc_turn_end();
        next = pc_server_refuse(s, q, read);
    }
    pc_request_clear(q);
    if (!inner && pc_aside_take_back(s) < 0) {
        next = PC_RAISED;
    }
    return next;
}

static enum pc_next serve_one(struct pc_server *s) {
    const uint8_t *payload;
    size_t n;
    if (!pc_inbox_whole(&s->to.in)) {
        enum pc_next next = pc_respond_flush(&s->to);
        if (next != PC_GO_ON) {
            return next;
        }
        pc_upkeep_trim();
    }
    pc_upkeep_rest(true);
    int got = pc_channel_next(&s->to.in, s->to.fd, s->to.max_frame, &s->spin, &payload, &n);
    pc_upkeep_rest(false);
    if (got <= 0) {
        return got == 0 ? PC_END_OF_FILE : PC_RAISED;
    }
    struct pc_request q;
    return pc_server_frame(s, &q, payload, n);
}

static enum pc_next serve_alone(struct pc_server *s) {
    enum pc_next next = PC_GO_ON;
    while (next == PC_GO_ON) {
        next = serve_one(s);
    }
    if (next == PC_SHUTDOWN) {
        enum pc_next sent = pc_respond_flush(&s->to);
        next = sent == PC_GO_ON ? next : sent;
    }
    /* With an exception the side thread sends what is held when it ends, or leaves it to the VM. */
    return next;
}

/* ---- Module functions */

static bool is_entry(PyObject *entry) {
    Py_ssize_t n = PyTuple_GET_SIZE(entry);
    bool fits = (n == 2 || n == 3) && PyCallable_Check(PyTuple_GET_ITEM(entry, 0));
    for (Py_ssize_t i = 1; fits && i < n; i++) {
        fits = PyTuple_GET_ITEM(entry, i) == Py_None || PyDict_CheckExact(PyTuple_GET_ITEM(entry, i));
    }
    return fits;
}

/* run and read_tool take entries apart without looking. */
static int check_tools(PyObject *tools) {
    Py_ssize_t at = 0;
    PyObject *name, *entry;
    while (PyDict_Next(tools, &at, &name, &entry)) {
        if (!PyUnicode_Check(name) || !PyTuple_CheckExact(entry) || !is_entry(entry)) {
            PyErr_SetString(PyExc_TypeError,
                            "tools: a dict from str to (callable, dict or None), or to these and a dict or None");
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

/* What serving begins with. */
struct opening {
    int call_fd, side_fd;
    int started_fd; /* owned; -1 */
    unsigned log_credit;
};

static void close_started(struct opening *with) {
    if (with->started_fd >= 0) {
        (void)close(with->started_fd);
        with->started_fd = -1;
    }
}

static int start(struct opening *with, bool many) {
    bool signals = pc_interrupt_install();
    if (many) {
        pc_turn_open_many(signals, pc_attendant_wake);
    } else {
        pc_turn_open(signals);
    }
    pc_vitals_open(many ? pc_crowd_poke : pc_upkeep_poke);
    pc_records_open(PC_RECORDS_LOGS, with->log_credit);
    int error = pc_published_open(with->started_fd);
    close_started(with);
    if (error == 0) {
        if (many) {
            pc_hold_open_none();
        } else {
            pc_hold_open(pc_published_memory(), with->call_fd);
        }
        error = pc_guard_arm(with->call_fd, with->side_fd);
    }
    if (error == 0) {
        error = pc_side_start(with->side_fd);
    }
    if (error != 0) {
        pc_guard_disarm();
        pc_hold_close();
        pc_records_close();
        pc_published_close();
        pc_buffers_close();
        errno = -error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

static void stop(void) {
    pc_side_stop();
    pc_guard_disarm();
    pc_hold_close();
    pc_records_close();
    pc_published_close();
    pc_buffers_close();
}

/* One call at a time. */
static enum pc_next run_alone(struct pc_server *s, struct opening *with) {
    if (start(with, false) < 0) {
        return PC_RAISED;
    }
    s->on_call = handle_call;
    s->on_stream = pc_stream_alone_hear;
    pc_function_open_alone(s);
    enum pc_next next = serve_alone(s);
    pc_function_close_alone();
    if (!pc_guard_forked()) { /* a forked child has neither the thread nor the sockets nor the page */
        stop();
    }
    return next;
}

/* Many; takes over what the server owns. */
static enum pc_next run_crowd(struct pc_server *s, struct opening *with, unsigned most) {
    struct pc_crowd *c = pc_crowd_new(s, most);
    if (c == NULL) {
        return PC_RAISED;
    }
    *s = (struct pc_server){.tools = {.known = NULL}};
    enum pc_next next = PC_RAISED;
    if (pc_attendant_start(pc_crowd_attend, c) == 0) {
        if (start(with, true) == 0) {
            next = pc_crowd_serve(c);
            stop();
        }
        pc_attendant_stop();
    }
    pc_crowd_close(c);
    pc_crowd_release(c);
    return next;
}

PyObject *pc_serve(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *names[] = {"call_fd",    "side_fd",    "tools",   "max_frame",   "max_depth", "spin_us",
                            "started_fd", "log_credit", "missing", "concurrency", NULL};
    struct pc_server s = {.to = {.max_depth = PC_MAX_DEPTH}};
    struct opening with = {.started_fd = -1};
    Py_ssize_t max_frame = PC_MAX_FRAME;
    unsigned spin_us = 0, concurrency = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiO!|nIIiIOI:serve", names, &with.call_fd, &with.side_fd,
                                     &PyDict_Type, &s.tools.known, &max_frame, &s.to.max_depth, &spin_us,
                                     &with.started_fd, &with.log_credit, &s.tools.missing, &concurrency)) {
        return NULL;
    }
    s.to.fd = with.call_fd;
    s.to.max_frame = (size_t)max_frame;
    s.spin.limit_ns = (int64_t)spin_us * 1000;
    if (s.to.max_depth > PC_MAX_DEPTH) {
        s.to.max_depth = PC_MAX_DEPTH;
    }
    s.tools.known = PyDict_Copy(s.tools.known); /* nobody can change what was checked */
    pc_inbox_init(&s.to.in);
    pc_inbox_init(&s.inner);
    pc_inbox_init(&s.later);
    pc_outbox_init(&s.to.out);
    enum pc_next next = PC_RAISED;
    if (s.tools.known != NULL && refuse_start() == 0 && check_tools(s.tools.known) == 0) {
        next = concurrency > 1 ? run_crowd(&s, &with, concurrency) : run_alone(&s, &with);
    }
    close_started(&with);
    pc_inbox_destroy(&s.to.in);
    pc_inbox_destroy(&s.inner);
    pc_inbox_destroy(&s.later);
    pc_outbox_destroy(&s.to.out);
    Py_XDECREF(s.tools.known);
    return next == PC_RAISED ? NULL : PyUnicode_FromString(next == PC_SHUTDOWN ? "shutdown" : "eof");
}
