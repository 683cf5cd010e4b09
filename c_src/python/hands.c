/*
 * Threads that run calls one after another, each waiting on a semaphore of its own without the GIL. An interrupt can come only while `thread` names
 * this one, and what has not been raised by then is taken back, all without letting go of the GIL: it never meets another call.
 */

#include "crowd.h"
#include "crowd_stream.h"
#include "current.h"
#include "deadline.h"
#include "lazy.h"
#include "wire/clock.h"

struct pc_hand {
    struct pc_crowd *crowd;
    struct pc_hand *next_idle;
    struct pc_responder to;
    sem_t wake;
};

/* ---- In the thread */

static PyObject *call_tool(struct pc_hand *hand, struct pc_call *call) {
    struct pc_crowd *c = hand->crowd;
    PyObject *context = PyContext_Copy(c->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return NULL;
    }
    call->start = pc_clock_ns();
    call->thread = PyThread_get_thread_ident();
    PyObject *result = NULL;
    if (call->interrupts > 0) { /* before we have come to it */
        PyErr_SetString(pc_Cancelled, "the call was cancelled");
    } else {
        pc_deadline_set(call->q.deadline_ns);
        pc_current_set(call->q.from.id, call->q.name);
        result = pc_request_call(&call->q);
        if (result != NULL && call->q.credit > 0 && pc_stream_source(result) == PC_SOURCE_ITERATOR) {
            result = pc_crowd_stream_run(call, &hand->to, result);
        }
        pc_deadline_set(PC_NO_DEADLINE);
        pc_current_set(0, NULL);
    }
    if (call->interrupts > 0) {
        (void)PyThreadState_SetAsyncExc(call->thread, NULL);
    }
    call->thread = 0;
    (void)PyContext_Exit(context);
    Py_DECREF(context);
    return result;
}

static void run(struct pc_hand *hand, struct pc_call *call) {
    struct pc_crowd *c = hand->crowd;
    call->start = pc_clock_ns();
    PyObject *result = call_tool(hand, call);
    pc_crowd_leave_fork();
    if (result != NULL && call->q.credit > 0 && call->stream == NULL && pc_stream_source(result) == PC_SOURCE_ASYNC) {
        result = pc_crowd_stream_pump(call, result);
    }
    if (result != NULL && PyCoro_CheckExact(result) && !c->closed) {
        call->coroutine = result;
        pc_call_push(&c->handed, call);
        pc_crowd_ring(c);
    } else {
        pc_crowd_end_call(call, &hand->to, result);
    }
}

static void rest(struct pc_hand *hand) {
    hand->next_idle = hand->crowd->idle;
    hand->crowd->idle = hand;
    pc_crowd_sleep(&hand->wake);
}

static PyObject *work(PyObject *capsule, PyObject *unused) {
    (void)unused;
    struct pc_hand *hand = PyCapsule_GetPointer(capsule, NULL);
    while (!hand->crowd->closed) {
        struct pc_call *call = pc_call_pop(&hand->crowd->ready);
        if (call == NULL) {
            rest(hand);
        } else {
            run(hand, call);
        }
    }
    return Py_NewRef(Py_None);
}

/* ---- On the main thread */

static struct pc_hand *new_hand(struct pc_crowd *c) {
    struct pc_hand *hand = PyMem_Calloc(1, sizeof *hand);
    if (hand == NULL) {
        (void)PyErr_NoMemory();
        return NULL;
    }
    hand->crowd = c;
    hand->to = (struct pc_responder){.fd = c->s.to.fd,
                                     .max_frame = c->s.to.max_frame,
                                     .max_depth = c->s.to.max_depth,
                                     .flow = &c->flow,
                                     .may_wait = true};
    pc_outbox_init(&hand->to.out);
    (void)sem_init(&hand->wake, 0, 0);
    c->refs++;
    c->hands++;
    return hand;
}

/* The thread has gone, or never was. */
static void free_hand(PyObject *capsule) {
    struct pc_hand *hand = PyCapsule_GetPointer(capsule, NULL);
    hand->crowd->hands--;
    pc_outbox_destroy(&hand->to.out);
    (void)sem_destroy(&hand->wake);
    pc_crowd_release(hand->crowd);
    PyMem_Free(hand);
}

/* What the thread runs owns the hand. NULL with an exception. */
static PyObject *new_work(struct pc_crowd *c) {
    static PyMethodDef definition = {"work", work, METH_NOARGS, NULL};
    struct pc_hand *hand = new_hand(c);
    PyObject *capsule = hand == NULL ? NULL : PyCapsule_New(hand, NULL, free_hand);
    PyObject *function = capsule == NULL ? NULL : PyCFunction_New(&definition, capsule);
    Py_XDECREF(capsule);
    return function;
}

/* Where no thread can be started, those that there are do it all. */
static void hire(struct pc_crowd *c) {
    const bool nobody = c->hands == 0; /* before: the traceback of a start that fails keeps the hand that it was for */
    PyObject *start = pc_lazy_get(PC_LAZY_START_HAND);
    PyObject *function = start == NULL ? NULL : new_work(c);
    PyObject *done = function == NULL ? NULL : PyObject_CallFunction(start, "OI", function, c->hands);
    Py_XDECREF(function);
    Py_XDECREF(done);
    struct pc_call *call = done == NULL && nobody ? pc_call_pop(&c->ready) : NULL;
    if (call != NULL) { /* a start that was interrupted may have begun the thread, which has taken it */
        call->start = pc_clock_ns();
        pc_crowd_end_call(call, &c->s.to, NULL);
    }
    PyErr_Clear();
}

void pc_hands_give(struct pc_crowd *c, struct pc_call *call) {
    struct pc_hand *hand = c->idle;
    pc_call_push(&c->ready, call);
    if (hand != NULL) {
        c->idle = hand->next_idle;
        (void)sem_post(&hand->wake);
    } else if (c->hands < c->most + c->waiting) {
        hire(c);
    }
}

void pc_hands_dismiss(struct pc_crowd *c) {
    while (c->idle != NULL) {
        struct pc_hand *hand = c->idle;
        c->idle = hand->next_idle;
        (void)sem_post(&hand->wake);
    }
    struct pc_call *call;
    while ((call = pc_call_pop(&c->ready)) != NULL) {
        pc_crowd_end_call(call, &c->s.to, NULL);
    }
}
