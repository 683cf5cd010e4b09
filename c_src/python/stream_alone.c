/* See stream_alone.h. While a stream goes on nobody else reads the call channel (aside.h). */

#include "stream_alone.h"

#include "aside.h"
#include "channel.h"
#include "deadline.h"
#include "driver.h"
#include "function_alone.h"
#include "lazy.h"
#include "session.h"
#include "stream.h"
#include "stream_async.h"
#include "turn.h"

struct alone {
    struct pc_stream st; /* the first member, so that one is the other */
    struct pc_server *s;
};

/* ---- What the VM says meanwhile */

bool pc_stream_alone_hear(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit) {
    return s->stream != NULL && pc_stream_hear(s->stream, kind, id, credit);
}

static void read_frames(struct alone *a) {
    enum pc_io io;
    do {
        io = pc_aside_read(a->s);
    } while (io == PC_IO_DONE);
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
    a.s = s;
    s->stream = &a.st;
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
        enum pc_next ended = pc_function_end_call();
        if (ended != PC_GO_ON && a.st.next == PC_GO_ON) {
            a.st.next = ended;
        }
        pc_request_return(q);
        next = pc_stream_end(&a.st, result);
    }
    s->stream = NULL;
    pc_stream_destroy(&a.st);
    return next;
}
