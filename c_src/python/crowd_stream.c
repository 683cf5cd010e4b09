/* See crowd_stream.h. Everything is the GIL's, but for the semaphore. */

#include "crowd_stream.h"

#include "context.h"
#include "lazy.h"
#include "stream_async.h"

struct pc_crowd_stream {
    struct pc_stream st; /* the first member, so that one is the other */
    struct pc_call *call;
    sem_t bell;       /* a thread waits for it */
    PyObject *woken;  /* owned: an asyncio.Event that the loop waits for; or NULL */
    PyObject *handle; /* owned: what the coroutine has of us; or NULL */
};

/* ---- In whatever runs the call */

static void take_interrupt(struct pc_stream *st) {
    if (pc_crowd_take_interrupt()) {
        pc_stream_note(st);
    }
}

static void look(struct pc_stream *st, bool wait) {
    struct pc_crowd_stream *cs = (struct pc_crowd_stream *)st;
    if (wait) {
        take_interrupt(st);
    }
    while (wait && !pc_stream_goes(st)) {
        pc_crowd_sleep(&cs->bell);
        take_interrupt(st);
    }
}

/* On the loop's thread. */
static void sent(struct pc_stream *st) { pc_crowd_settle(((struct pc_crowd_stream *)st)->call->crowd); }

static struct pc_crowd_stream *new_stream(struct pc_call *call, struct pc_responder *to) {
    struct pc_crowd_stream *cs = PyMem_Calloc(1, sizeof *cs);
    if (cs == NULL) {
        (void)PyErr_NoMemory();
        return NULL;
    }
    pc_stream_init(&cs->st, to, &call->q);
    cs->st.python_ns = cs->st.since - call->start;
    cs->st.look = look;
    cs->st.halted = call->halted;
    cs->call = call;
    (void)sem_init(&cs->bell, 0, 0);
    if (call->crowd->closed) {
        cs->st.next = PC_END_OF_FILE;
    }
    call->stream = cs;
    call->crowd->streams++;
    if (call->crowd->paused) { /* so that the main thread reads all the same */
        pc_crowd_ring(call->crowd);
    }
    return cs;
}

static PyObject *run(struct pc_call *call, struct pc_responder *to, PyObject *iterator) {
    struct pc_crowd_stream *cs = new_stream(call, to);
    struct pc_context context;
    if (cs == NULL || pc_context_enter(&call->q, &context) < 0) {
        return NULL;
    }
    PyObject *result = pc_stream_run(&cs->st, iterator);
    pc_context_leave(&context);
    return result;
}

PyObject *pc_crowd_stream_run(struct pc_call *call, struct pc_responder *to, PyObject *iterator) {
    PyObject *result = run(call, to, iterator);
    PyObject *exception = pc_exception_take();
    Py_DECREF(iterator);
    pc_exception_restore(exception);
    return result;
}

PyObject *pc_crowd_stream_pump(struct pc_call *call, PyObject *source) {
    struct pc_crowd_stream *cs = new_stream(call, &call->crowd->s.to);
    PyObject *wait = cs == NULL ? NULL : pc_lazy_get(PC_LAZY_WAIT_EVENT);
    PyObject *make = wait == NULL ? NULL : pc_lazy_get(PC_LAZY_EVENT);
    if (make != NULL) {
        cs->woken = PyObject_CallNoArgs(make);
    }
    PyObject *coroutine = NULL;
    if (cs != NULL && cs->woken != NULL) {
        cs->st.sent = sent;
        coroutine = pc_stream_pump(&cs->st, source, wait, cs->woken, &cs->handle);
    }
    Py_DECREF(source);
    return coroutine;
}

void pc_crowd_stream_free(struct pc_call *call) {
    struct pc_crowd_stream *cs = call->stream;
    if (cs == NULL) {
        return;
    }
    call->stream = NULL;
    call->crowd->streams--;
    pc_stream_detach(cs->handle);
    pc_stream_destroy(&cs->st);
    Py_XDECREF(cs->woken);
    (void)sem_destroy(&cs->bell);
    PyMem_Free(cs);
}

enum pc_next pc_crowd_stream_end(struct pc_call *call, struct pc_responder *to, PyObject *result) {
    struct pc_crowd_stream *cs = call->stream;
    struct pc_stream none;
    if (cs != NULL) {
        return pc_stream_end(&cs->st, result);
    }
    pc_stream_init(&none, to, &call->q);
    pc_stream_refuse(&none, result);
    Py_DECREF(result);
    enum pc_next next = pc_stream_end(&none, NULL);
    pc_stream_destroy(&none);
    return next;
}

/* ---- On the main thread */

void pc_crowd_stream_ring(struct pc_call *call) {
    struct pc_crowd_stream *cs = call->stream;
    if (cs != NULL) {
        (void)sem_post(&cs->bell);
    }
}

static void wake(struct pc_call *call) {
    struct pc_crowd_stream *cs = call->stream;
    pc_crowd_stream_ring(call);
    if (cs->woken != NULL) {
        PyObject *woken = Py_NewRef(cs->woken);
        PyObject *done = PyObject_CallMethod(woken, "set", NULL);
        Py_DECREF(woken);
        Py_XDECREF(done);
        PyErr_Clear();
    }
}

bool pc_crowd_stream_hear(struct pc_crowd *c, int64_t kind, uint64_t id, int64_t credit) {
    struct pc_call *call = pc_crowd_find(c, id);
    if (call == NULL) {
        return false;
    }
    if (call->stream == NULL) { /* its tool has not returned the iterator yet: credit is given for chunks only */
        call->halted = call->halted || kind == PC_KIND_END;
    } else if (pc_stream_hear(&call->stream->st, kind, id, credit)) {
        wake(call);
    }
    return true;
}

void pc_crowd_streams_close(struct pc_crowd *c) {
    for (struct pc_call *call = c->oldest; call != NULL; call = call->next) {
        if (call->stream != NULL) {
            call->stream->st.next = PC_END_OF_FILE;
            wake(call);
        }
    }
}
