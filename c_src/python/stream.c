/* See stream.h. Where nothing is held (many calls at once), each chunk is sent by itself. */

#include "stream.h"

#include "channel.h"
#include "function_alone.h"
#include "guard.h"
#include "hold.h"
#include "wire/clock.h"
#include "wire/stream.h"

enum { LOOK_NS = 100 * 1000 }; /* how long a halt may lie in the socket while chunks go out */

enum pc_source pc_stream_source(PyObject *value) {
    const PyAsyncMethods *as_async = Py_TYPE(value)->tp_as_async;
    if (as_async != NULL && as_async->am_anext != NULL) {
        return PC_SOURCE_ASYNC;
    }
    return PyIter_Check(value) ? PC_SOURCE_ITERATOR : PC_SOURCE_NONE;
}

void pc_stream_init(struct pc_stream *st, struct pc_responder *to, const struct pc_request *q) {
    *st = (struct pc_stream){.to = to, .from = &q->from, .credit = q->credit, .next = PC_GO_ON};
    st->since = st->looked = pc_clock_ns();
}

void pc_stream_destroy(struct pc_stream *st) {
    Py_CLEAR(st->interrupt);
    Py_CLEAR(st->refused);
}

void pc_stream_note(struct pc_stream *st) {
    PyObject *exception = pc_exception_take();
    if (st->interrupt == NULL) {
        st->interrupt = exception;
    } else {
        Py_XDECREF(exception);
    }
}

bool pc_stream_raise(struct pc_stream *st) {
    PyObject *exception = st->interrupt;
    st->interrupt = NULL;
    pc_exception_restore(exception);
    return exception != NULL;
}

bool pc_stream_hear(struct pc_stream *st, int64_t kind, uint64_t id, int64_t credit) {
    if (id != st->from->id || (kind != PC_KIND_CREDIT && kind != PC_KIND_END)) {
        return false;
    }
    st->halted = st->halted || kind == PC_KIND_END;
    if (kind == PC_KIND_CREDIT && credit > 0 && credit <= PC_MOST_CREDIT && st->credit <= PC_MOST_CREDIT) {
        st->credit += credit;
    }
    return true;
}

/* ---- Sending */

/* A fork by the tool's own code, of which the child has come back to us: it sends nothing. */
static bool is_forked(struct pc_stream *st) {
    if (pc_guard_forked()) {
        st->next = PC_RAISED;
    }
    return pc_guard_forked();
}

static void wait_room(struct pc_stream *st) {
    if (pc_channel_wait_room(st->to->fd) < 0) {
        pc_stream_note(st);
    }
}

void pc_stream_flush(struct pc_stream *st) {
    while (st->to->flow == NULL && st->next == PC_GO_ON && pc_hold_any() && !is_forked(st)) {
        enum pc_io put = pc_hold_flush();
        if (put == PC_IO_EOF) {
            st->next = PC_END_OF_FILE;
        } else if (put == PC_IO_AGAIN) {
            wait_room(st);
        }
    }
}

/* While we wait threads of the tool's may send frames of functions, and the rest of our own. */
static void send_now(struct pc_stream *st) {
    struct pc_outbox *out = &st->to->out;
    size_t n = pc_outbox_pending(out);
    while (st->next == PC_GO_ON && pc_outbox_pending(out) > 0 && !is_forked(st)) {
        enum pc_io put = pc_respond_try(st->to);
        if (put == PC_IO_EOF) {
            st->next = PC_END_OF_FILE;
        } else if (put == PC_IO_AGAIN) {
            wait_room(st);
        }
    }
    if (st->next == PC_GO_ON) {
        pc_hold_count(n);
    }
}

static void pour(struct pc_stream *st) {
    st->next = pc_respond_pour(st->to);
    if (st->next == PC_RAISED) { /* there was no memory for what the socket did not take */
        pc_stream_note(st);
    }
    if (st->sent != NULL) {
        st->sent(st);
    }
}

/* The chunk is in the outbox; the tool took so long for it. */
static void send_chunk(struct pc_stream *st, int64_t python_ns) {
    struct pc_responder *r = st->to;
    if (is_forked(st)) {
        return;
    }
    if (r->flow != NULL) {
        pour(st);
        return;
    }
    r->held_ns = pc_hold_any() ? r->held_ns + python_ns : python_ns;
    bool more = st->credit > 0 && r->held_ns < PC_QUICK_NS;
    if (!more || pc_function_sends() || !pc_respond_hold(r)) {
        send_now(st);
    }
}

/* ---- Chunks */

static int encode_chunk(struct pc_stream *st, PyObject *chunk, int64_t python_ns) {
    struct pc_answer a;
    pc_answer_begin(&a, &st->to->out, st->to->max_frame, st->from, PC_KIND_CHUNK, python_ns);
    if (pc_answer_value(&a, chunk, st->to->max_depth, "chunk") < 0) {
        if (PyErr_ExceptionMatches(pc_Cancelled)) { /* raised in a converter */
            return -1;
        }
        st->kind = a.status == PC_TOO_BIG ? "too_big" : "result_error";
        st->refused = pc_exception_take();
        pc_exception_restore(Py_NewRef(st->refused));
        return -1;
    }
    st->credit -= pc_chunk_cost(pc_outbox_pending(&st->to->out) - PC_FRAME_HEADER + a.apart);
    return 0;
}

int pc_stream_put(struct pc_stream *st, PyObject *chunk) {
    if (st->next != PC_GO_ON) {
        return 0;
    }
    int64_t now = pc_clock_ns();
    int64_t python_ns = now - st->since;
    st->python_ns += python_ns;
    st->since = now;
    if (encode_chunk(st, chunk, python_ns) < 0) {
        return -1;
    }
    send_chunk(st, python_ns);
    if (st->credit <= 0 || now - st->looked > LOOK_NS) {
        st->looked = now;
        st->look(st, false);
        if (PyErr_CheckSignals() < 0) { /* an iterator in C would never see one */
            pc_stream_note(st);
        }
        st->since = pc_clock_ns();
    }
    return 0;
}

/* ---- An iterator */

/* Where it stands: a generator may catch it, and go on. */
static PySendResult raise_in(PyObject *iterator, PyObject *exception, PyObject **result) {
    if (!PyGen_Check(iterator)) {
        pc_exception_restore(exception);
        return PYGEN_ERROR;
    }
    *result = PyObject_CallMethod(iterator, "throw", "O", exception);
    Py_DECREF(exception);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyErr_Clear();
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PySendResult take_next(struct pc_stream *st, PyObject *iterator, PyObject **result) {
    PyObject *interrupt = st->interrupt;
    if (interrupt != NULL) {
        st->interrupt = NULL;
        return raise_in(iterator, interrupt, result);
    }
    return PyIter_Send(iterator, Py_None, result);
}

/* Its `finally` blocks run. Keeps an exception that is set; -1 if there is one then. */
static int close_generator(PyObject *iterator) {
    PyObject *before = pc_exception_take();
    if (PyGen_Check(iterator)) {
        PyObject *closed = PyObject_CallMethod(iterator, "close", NULL);
        Py_XDECREF(closed);
    }
    if (before != NULL) {
        PyErr_Clear();
        pc_exception_restore(before);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static void wait_until_it_goes(struct pc_stream *st) {
    if (!pc_stream_goes(st)) {
        st->look(st, true);
        st->since = pc_clock_ns();
    }
}

/* What a generator yields when it has caught an interrupt has no credit yet. If that does not come, but another interrupt or the end, it is dropped. */
static int put_next(struct pc_stream *st, PyObject *item) {
    wait_until_it_goes(st);
    int put = st->credit > 0 ? pc_stream_put(st, item) : 0;
    if (put == 0) {
        wait_until_it_goes(st);
    }
    return put;
}

PyObject *pc_stream_run(struct pc_stream *st, PyObject *iterator) {
    for (;;) {
        PyObject *item = NULL;
        PySendResult how = take_next(st, iterator, &item);
        if (how != PYGEN_NEXT || is_forked(st)) {
            Py_XDECREF(item);
            return how == PYGEN_ERROR ? NULL : Py_NewRef(Py_None);
        }
        int put = put_next(st, item);
        Py_DECREF(item);
        if (put < 0 || pc_stream_is_over(st)) {
            return close_generator(iterator) < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
}

/* ---- The end */

void pc_stream_refuse(struct pc_stream *st, PyObject *value) {
    PyObject *name = pc_type_name(Py_TYPE(value));
    if (name != NULL) {
        (void)PyErr_Format(pc_EncodeError,
                           "the tool returned %U, which is no stream: that is a generator, or another iterator, also "
                           "an asynchronous one",
                           name);
    }
    Py_XDECREF(name);
    st->kind = "result_error";
    st->refused = pc_exception_take();
    pc_exception_restore(Py_NewRef(st->refused));
}

enum pc_next pc_stream_end(struct pc_stream *st, PyObject *result) {
    st->python_ns += pc_clock_ns() - st->since;
    if (st->next != PC_GO_ON) {
        Py_XDECREF(result);
        if (st->next != PC_RAISED) {
            PyErr_Clear();
        } else if (!PyErr_Occurred() && !pc_stream_raise(st)) {
            (void)pc_respond_forked();
        }
        return st->next;
    }
    if (result != NULL) {
        Py_DECREF(result);
        return pc_respond_value(st->to, st->from, st->python_ns, Py_None);
    }
    PyObject *exception = pc_exception_take();
    bool refused = exception == st->refused;
    pc_exception_restore(exception);
    return refused ? pc_respond_exception(st->to, st->kind, st->from, st->python_ns)
                   : pc_respond_raised(st->to, st->from, st->python_ns);
}
