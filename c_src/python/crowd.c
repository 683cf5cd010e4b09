/* Births and ends of calls. A call is linked, and begun for turn.h, from here until its answer is made; `running` counts it until that has been sent. */

#include "crowd.h"

#include <errno.h>
#include <unistd.h>

#include "crowd_function.h"
#include "crowd_stream.h"
#include "published.h"
#include "session.h"
#include "turn.h"
#include "wire/clock.h"

/* ---- Lists */

void pc_call_push(struct pc_call_queue *q, struct pc_call *call) {
    call->next_ready = NULL;
    if (q->last != NULL) {
        q->last->next_ready = call;
    } else {
        q->first = call;
    }
    q->last = call;
}

struct pc_call *pc_call_pop(struct pc_call_queue *q) {
    struct pc_call *call = q->first;
    if (call != NULL) {
        q->first = call->next_ready;
        q->last = q->first == NULL ? NULL : q->last;
    }
    return call;
}

static void link_call(struct pc_crowd *c, struct pc_call *call) {
    call->prev = c->latest;
    call->next = NULL;
    *(c->latest != NULL ? &c->latest->next : &c->oldest) = call;
    c->latest = call;
}

static void unlink_call(struct pc_crowd *c, struct pc_call *call) {
    *(call->prev != NULL ? &call->prev->next : &c->oldest) = call->next;
    *(call->next != NULL ? &call->next->prev : &c->latest) = call->prev;
}

struct pc_call *pc_crowd_find(const struct pc_crowd *c, uint64_t id) {
    struct pc_call *call = c->oldest;
    while (call != NULL && call->q.from.id != id) {
        call = call->next;
    }
    return call;
}

/* ---- Waiting */

void pc_crowd_sleep(sem_t *bell) {
    int waited;
    Py_BEGIN_ALLOW_THREADS do { waited = sem_wait(bell); }
    while (waited < 0 && errno == EINTR)
        ;
    Py_END_ALLOW_THREADS
}

bool pc_crowd_take_interrupt(void) {
    if (PyThreadState_Get()->async_exc == NULL) {
        return false;
    }
    (void)PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
    PyErr_SetString(pc_Cancelled, "the call was cancelled");
    return true;
}

/* ---- The end of a call, and of all */

void pc_crowd_ring(struct pc_crowd *c) {
    if (!c->rung && !c->closed) {
        c->rung = true;
        pc_bell_ring(&c->bell);
    }
}

void pc_crowd_end(struct pc_crowd *c, enum pc_next next) {
    PyObject *exception = pc_exception_take();
    if (c->next == PC_GO_ON) {
        c->next = next;
        c->failure = next == PC_RAISED ? exception : NULL;
        exception = next == PC_RAISED ? NULL : exception;
        pc_crowd_ring(c);
    }
    Py_XDECREF(exception);
}

void pc_crowd_leave_fork(void) {
    if (pc_respond_forked() == 0) {
        return;
    }
    PyObject *exception = pc_exception_take();
    PyObject *process = PyImport_ImportModule("pitcrew.process");
    if (process != NULL) {
        (void)PyObject_CallMethod(process, "leave_forked", "O", exception);
    }
    _exit(1);
}

static void free_call(struct pc_call *call) {
    pc_request_clear(&call->q);
    Py_XDECREF(call->coroutine);
    Py_XDECREF(call->driver);
    pc_crowd_stream_free(call);
    PyMem_Free(call);
}

void pc_crowd_end_call(struct pc_call *call, struct pc_responder *to, PyObject *result) {
    struct pc_crowd *c = call->crowd;
    int64_t python_ns = pc_clock_ns() - call->start;
    pc_crowd_leave_fork();
    unlink_call(c, call);
    if (!c->closed) {
        pc_turn_leave(call->q.from.id); /* from here on nothing is interrupted */
    }
    pc_crowd_function_end_call(call);
    enum pc_next next = PC_GO_ON;
    if (c->closed) {
        PyErr_Clear();
    } else if (call->q.credit > 0 && (result != NULL || call->stream != NULL)) {
        pc_request_return(&call->q);
        next = pc_crowd_stream_end(call, to, result);
        result = NULL;
    } else if (result == NULL) {
        next = pc_respond_raised(to, &call->q.from, python_ns);
    } else {
        pc_request_return(&call->q);
        next = pc_respond_value(to, &call->q.from, python_ns, result);
    }
    if (next != PC_GO_ON) {
        pc_crowd_end(c, next);
    }
    Py_XDECREF(result);
    if (call->session_over && pc_session_drop(call->q.session) < 0) {
        PyErr_Clear();
    }
    free_call(call);
    c->running--;
    if (to == &c->s.to) {
        pc_crowd_settle(c);
    } else if (c->paused) {
        pc_crowd_ring(c);
    }
    pc_crowd_release(c);
}

/* ---- The beginning of a call */

/* Whether calling it only makes a coroutine, and runs nothing. */
static bool is_coroutine_function(PyObject *tool) {
    PyObject *function = PyMethod_Check(tool) ? PyMethod_GET_FUNCTION(tool) : tool;
    return PyFunction_Check(function) &&
           (((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags & CO_COROUTINE) != 0;
}

static void begin_coroutine(struct pc_call *call) {
    call->start = pc_clock_ns();
    PyObject *result = pc_request_call(&call->q);
    if (result == NULL) {
        pc_crowd_end_call(call, &call->crowd->s.to, NULL);
        return;
    }
    call->coroutine = result;
    pc_crowd_start_coroutine(call);
}

static enum pc_next on_call(struct pc_server *s, struct pc_request *q, int read) {
    struct pc_crowd *c = (struct pc_crowd *)s;
    struct pc_call *call = (struct pc_call *)q;
    c->spare = NULL;
    pc_inbox_consume(&s->to.in);
    enum pc_next next = PC_GO_ON;
    if (!pc_turn_join(q->from.id)) {
        PyErr_Clear();
        free_call(call);
    } else if (read < 0 || q->tool == NULL) {
        pc_turn_leave(q->from.id);
        next = pc_server_refuse(s, q, read);
        free_call(call);
    } else {
        pc_published_set(q->from.id);
        c->running++;
        c->refs++;
        link_call(c, call);
        if (!q->is_unresolved && is_coroutine_function(q->tool)) {
            begin_coroutine(call);
        } else {
            pc_hands_give(c, call);
        }
    }
    return next;
}

/* What they keep from now on goes when they end. */
static void on_session_over(struct pc_server *s, uint64_t id) {
    struct pc_crowd *c = (struct pc_crowd *)s;
    for (struct pc_call *call = c->oldest; call != NULL; call = call->next) {
        call->session_over = call->session_over || call->q.session == id;
    }
}

static bool on_stream(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit) {
    return pc_crowd_stream_hear((struct pc_crowd *)s, kind, id, credit);
}

/* ---- The crowd */

struct pc_crowd *pc_crowd_new(const struct pc_server *s, unsigned most) {
    struct pc_crowd *c = PyMem_Calloc(1, sizeof *c);
    if (c == NULL) {
        (void)PyErr_NoMemory();
        return NULL;
    }
    c->s = *s;
    c->s.on_call = on_call;
    c->s.on_session_over = on_session_over;
    c->s.on_stream = on_stream;
    c->s.to.flow = &c->flow;
    c->most = most < PC_TURN_MOST ? most : PC_TURN_MOST;
    c->refs = 1;
    pc_outflow_init(&c->flow, s->to.fd);
    c->context = PyContext_CopyCurrent();
    c->bell = PC_NO_BELL;
    if (c->context != NULL && pc_bell_open(&c->bell) == 0) {
        return c;
    }
    Py_XDECREF(c->context);
    PyMem_Free(c);
    return NULL;
}

enum pc_next pc_crowd_serve(struct pc_crowd *c) {
    pc_crowd_functions_open(c);
    while (c->next == PC_GO_ON) {
        pc_crowd_turn(c);
    }
    pc_exception_restore(c->failure);
    c->failure = NULL;
    return c->next;
}

void pc_crowd_close(struct pc_crowd *c) {
    PyObject *exception = pc_exception_take();
    c->closed = true;
    pc_crowd_streams_close(c);
    pc_crowd_functions_close();
    pc_crowd_leave_loop(c); /* before calls end here, which would stop it for whoever runs it next */
    pc_hands_dismiss(c);
    pc_outflow_destroy(&c->flow);
    pc_bell_close(&c->bell);
    pc_exception_restore(exception);
}

void pc_crowd_release(struct pc_crowd *c) {
    if (--c->refs > 0) {
        return;
    }
    if (c->spare != NULL) {
        PyMem_Free(c->spare);
    }
    pc_inbox_destroy(&c->s.to.in);
    pc_inbox_destroy(&c->s.inner);
    pc_inbox_destroy(&c->s.later);
    pc_outbox_destroy(&c->s.to.out);
    Py_XDECREF(c->s.tools.known);
    Py_XDECREF(c->context);
    Py_XDECREF(c->failure);
    PyMem_Free(c);
}
