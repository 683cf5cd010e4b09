/*
 * While a stream goes on nobody else reads the call channel. What comes there for others, calls of a pipelined worker and what is to be forgotten
 * behind them, is put aside, in order, and is the next to be read when the stream has ended.
 */

#include "stream_alone.h"

#include <string.h>

#include "channel.h"
#include "codec/reader.h"
#include "deadline.h"
#include "driver.h"
#include "lazy.h"
#include "session.h"
#include "stream.h"
#include "stream_async.h"
#include "turn.h"

struct alone {
    struct pc_stream st; /* the first member, so that one is the other */
    struct pc_inbox later;
};

/* ---- What the VM says meanwhile */

static bool put_aside(struct alone *a, const uint8_t *payload, size_t n) {
    return pc_inbox_append(&a->later, payload - PC_FRAME_HEADER, PC_FRAME_HEADER + n);
}

/* Whether the frame is this stream's. */
static bool hear(struct alone *a, const uint8_t *payload, size_t n) {
    struct pc_reader r;
    uint32_t count;
    int64_t kind, credit = 0;
    uint64_t id;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 2 || pc_read_int(&r, &kind) != PC_OK ||
        pc_read_uint(&r, &id) != PC_OK) {
        return false;
    }
    if (count > 2 && kind == PC_KIND_CREDIT && pc_read_int(&r, &credit) != PC_OK) {
        credit = 0;
    }
    return pc_stream_hear(&a->st, kind, id, credit);
}

static void read_frames(struct alone *a) {
    struct pc_inbox *in = &a->st.to->in;
    const uint8_t *payload;
    size_t n;
    enum pc_io io;
    while ((io = pc_inbox_read(in, a->st.to->fd, a->st.to->max_frame, SIZE_MAX, &payload, &n)) == PC_IO_DONE) {
        if (!hear(a, payload, n) && !put_aside(a, payload, n)) {
            io = PC_IO_BAD;
            break;
        }
        pc_inbox_consume(in);
    }
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
        if (pc_channel_wait_input(st->to->fd) < 0) {
            pc_stream_note(st);
        }
        read_frames(a);
    }
}

/* What was put aside is next, and what came behind it. */
static void take_back(struct alone *a, struct pc_inbox *in) {
    if (a->later.end == 0) {
        return;
    }
    if (!pc_inbox_append(&a->later, in->data + in->start, in->end - in->start)) {
        a->st.next = PC_END_OF_FILE;
        return;
    }
    a->later.total = in->total;
    pc_inbox_destroy(in);
    *in = a->later;
    pc_inbox_init(&a->later);
}

/* ---- Running */

/* On the loop, which goes on while there is no credit. */
static PyObject *run_async(struct alone *a, PyObject *source) {
    PyObject *wait = pc_lazy_get(PC_LAZY_WAIT_INPUT);
    PyObject *fd = wait == NULL ? NULL : PyLong_FromLong(a->st.to->fd);
    PyObject *handle = NULL;
    PyObject *coroutine = fd == NULL ? NULL : pc_stream_pump(&a->st, source, wait, fd, &handle);
    PyObject *result = coroutine == NULL ? NULL : pc_driver_run(coroutine);
    pc_stream_detach(handle);
    Py_XDECREF(fd);
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

static PyObject *run_in_session(struct alone *a, uint64_t id, PyObject *value) {
    PyObject *session = NULL;
    if (id != 0 && (session = pc_session_enter(id)) == NULL) {
        return NULL;
    }
    PyObject *result = run_source(a, value);
    if (session != NULL) {
        pc_session_leave(session);
    }
    return result;
}

enum pc_next pc_stream_alone(struct pc_server *s, struct pc_request *q, PyObject *value, int64_t python_ns) {
    struct alone a;
    pc_stream_init(&a.st, &s->to, q);
    a.st.python_ns = python_ns;
    a.st.look = look;
    pc_inbox_init(&a.later);
    PyObject *result = run_in_session(&a, q->session, value);
    PyObject *exception = pc_exception_take();
    Py_DECREF(value); /* an iterator may have something to do then, which is still the call's */
    if (exception != NULL) {
        pc_exception_restore(exception);
    }
    pc_deadline_set(PC_NO_DEADLINE);
    enum pc_next next = PC_RAISED;
    if (pc_respond_forked() < 0) {
        Py_XDECREF(result);
    } else {
        pc_turn_end(); /* from here on nothing is interrupted */
        pc_request_return(q);
        take_back(&a, &s->to.in);
        next = pc_stream_end(&a.st, result);
    }
    pc_inbox_destroy(&a.later);
    pc_stream_destroy(&a.st);
    return next;
}
