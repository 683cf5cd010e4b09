/*
 * See stream_alone.h. While a stream goes on frames are read aside (aside.h), by itself or by whoever waits for a function meanwhile: a thread, or a task on
 * the loop that the stream waits on. It is told then, for what has been read wakes nobody.
 */

#include "stream_alone.h"

#include "aside.h"
#include "bell.h"
#include "context.h"
#include "deadline.h"
#include "driver.h"
#include "function_alone.h"
#include "lazy.h"
#include "stream.h"
#include "stream_async.h"
#include "turn.h"

struct alone {
    struct pc_stream st; /* the first member, so that one is the other */
    struct pc_server *s;
    struct pc_stream *outer; /* that waits for a function, with this one inside of it */
    struct pc_bell bell;     /* open once it has waited */
    bool reads;              /* itself, and then looks at what has come */
    bool rung;
};

/* ---- What the VM says meanwhile */

bool pc_stream_alone_hear(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit) {
    struct alone *a = (struct alone *)s->stream;
    while (a != NULL && !pc_stream_hear(&a->st, kind, id, credit)) {
        a = (struct alone *)a->outer;
    }
    if (a == NULL) {
        return false;
    }
    if (!a->reads && !a->rung) {
        a->rung = true;
        pc_bell_ring(&a->bell);
    }
    return true;
}

static void read_frames(struct alone *a) {
    enum pc_io io;
    if (a->rung) {
        a->rung = false;
        pc_bell_hush(&a->bell);
    }
    a->reads = true;
    do {
        io = pc_aside_read(a->s);
    } while (io == PC_IO_DONE);
    a->reads = false;
    if (io != PC_IO_AGAIN) { /* what is wrong is found again when the stream has ended */
        a->st.next = PC_END_OF_FILE;
    }
}

static void look(struct pc_stream *st, bool wait) {
    struct alone *a = (struct alone *)st;
    read_frames(a);
    if (wait && !pc_stream_goes(st)) {
        pc_stream_flush(st);
    }
    while (wait && !pc_stream_goes(st)) {
        if (pc_bell_open(&a->bell) < 0 || pc_bell_wait(&a->bell, st->to->fd) < 0) {
            pc_stream_note(st);
        }
        read_frames(a);
    }
}

/* ---- Running */

/* On the loop, which goes on while there is no credit. */
static PyObject *run_async(struct alone *a, PyObject *source) {
    PyObject *wait = pc_bell_open(&a->bell) < 0 ? NULL : pc_lazy_get(PC_LAZY_WAIT_INPUT);
    PyObject *on = wait == NULL ? NULL : Py_BuildValue("ii", a->st.to->fd, a->bell.ends[0]);
    PyObject *handle = NULL;
    PyObject *coroutine = on == NULL ? NULL : pc_stream_pump(&a->st, source, wait, on, &handle);
    PyObject *result = coroutine == NULL ? NULL : pc_driver_run(coroutine);
    pc_stream_detach(handle);
    Py_XDECREF(on);
    return result;
}

static PyObject *run_source(struct alone *a, PyObject *value) {
    switch (pc_stream_source(value)) {
    case PC_SOURCE_ITERATOR:
        return pc_stream_run(&a->st, value);
    case PC_SOURCE_ASYNC:
        return run_async(a, value);
    default:
        pc_stream_refuse(&a->st, value);
        return NULL;
    }
}

static PyObject *run_in_context(struct alone *a, const struct pc_request *q, PyObject *value) {
    struct pc_context context;
    if (pc_context_enter(q, &context) < 0) {
        return NULL;
    }
    PyObject *result = run_source(a, value);
    pc_context_leave(&context);
    return result;
}

enum pc_next pc_stream_alone(struct pc_server *s, struct pc_request *q, PyObject *value, int64_t python_ns) {
    struct alone a = {.s = s, .outer = s->stream, .bell = PC_NO_BELL};
    pc_stream_init(&a.st, &s->to, q);
    a.st.python_ns = python_ns;
    a.st.look = look;
    s->stream = &a.st;
    PyObject *result = run_in_context(&a, q, value);
    PyObject *exception = pc_exception_take();
    Py_DECREF(value); /* an iterator may have something to do then, which is still the call's */
    pc_exception_restore(exception);
    pc_deadline_set(PC_NO_DEADLINE);
    enum pc_next next = PC_RAISED;
    if (pc_respond_forked() < 0) {
        Py_XDECREF(result);
    } else {
        pc_turn_end(); /* from here on nothing is interrupted */
        enum pc_next ended = pc_function_end_call();
        if (ended != PC_GO_ON && a.st.next == PC_GO_ON) {
            a.st.next = ended;
        }
        pc_request_return(q);
        next = pc_stream_end(&a.st, result);
    }
    s->stream = a.outer;
    pc_bell_close(&a.bell);
    pc_stream_destroy(&a.st);
    return next;
}
