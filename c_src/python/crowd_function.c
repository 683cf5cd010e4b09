/* See crowd_function.h. Everything is the GIL's, but for the semaphore. */

#include "crowd_function.h"

#include "function.h"
#include "waiter.h"

static struct pc_crowd *crowd; /* NULL: nothing is served */
static struct pc_caller caller;
static unsigned long home; /* the main thread */

/* ---- Who waits, and for how long */

static void begin_wait(uint64_t id) {
    struct pc_call *call = pc_crowd_find(crowd, id);
    crowd->listeners++;
    if (call->functions++ == 0) {
        crowd->waiting++;
    }
    if (crowd->paused) { /* so that the main thread reads all the same */
        pc_crowd_ring(crowd);
    }
}

/* The call may have ended, and the crowd too. */
static void end_wait(struct pc_crowd *c, uint64_t id) {
    c->listeners--;
    struct pc_call *call = pc_crowd_find(c, id);
    if (call != NULL && --call->functions == 0) {
        c->waiting--;
    }
}

static int send_frame(struct pc_outbox *out, bool may_wait) {
    int flow = pc_outflow_put(&crowd->flow, out);
    if (flow == PC_FLOW_WAITS && may_wait) {
        flow = pc_outflow_wait(&crowd->flow);
    }
    return flow < 0 ? -1 : 0; /* a VM that is gone ends the worker, and with it whoever waits */
}

/* ---- In a thread */

struct sleeper {
    struct pc_waiter w; /* the first member, so that one is the other */
    sem_t bell;
};

static void wake_thread(struct pc_waiter *w) { (void)sem_post(&((struct sleeper *)w)->bell); }

static void sleep_until_answered(struct sleeper *s) {
    while (s->w.state == PC_WAITER_WAITS && !pc_crowd_take_interrupt()) {
        pc_crowd_sleep(&s->bell);
    }
}

static PyObject *call_in_thread(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct pc_crowd *c = crowd;
    struct sleeper s;
    struct pc_outbox out;
    PyObject *result = NULL;
    pc_waiter_begin(&s.w, f->call, wake_thread);
    (void)sem_init(&s.bell, 0, 0);
    pc_outbox_init(&out);
    if (pc_function_write(&out, f, s.w.id, false, args, kwargs) == 0) {
        if (s.w.state == PC_WAITER_WAITS) {
            c->refs++;
            begin_wait(f->call);
            if (send_frame(&out, true) == 0) {
                sleep_until_answered(&s);
            }
            end_wait(c, f->call);
            PyObject *exception = pc_exception_take();
            pc_crowd_release(c);
            pc_exception_restore(exception);
        }
        result = PyErr_Occurred() ? NULL : pc_waiter_take(&s.w);
    }
    pc_outbox_destroy(&out);
    pc_waiter_end(&s.w);
    (void)sem_destroy(&s.bell);
    return result;
}

/* ---- On the loop */

struct promise {
    struct pc_waiter w;     /* the first member, so that one is the other */
    struct pc_crowd *crowd; /* borrowed: of whoever wakes it */
    PyObject *future;       /* owned */
    bool sent;
};

static void drop_promise(struct promise *p) {
    if (p->sent) {
        end_wait(p->crowd, p->w.call);
    }
    pc_waiter_end(&p->w);
    Py_XDECREF(p->future);
    PyMem_Free(p);
}

/* A task that was cancelled has cancelled it. */
static bool is_done(PyObject *future) {
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    bool is = done != Py_False;
    Py_XDECREF(done);
    return is;
}

static void settle(const struct promise *p) {
    if (is_done(p->future)) {
        return;
    }
    PyObject *done = p->w.state == PC_WAITER_ENDED ? PyObject_CallMethod(p->future, "cancel", NULL)
                                                   : pc_waiter_settle(p->future, p->w.result, p->w.exception);
    if (done == NULL) { /* whoever awaits it must not wait for ever */
        PyErr_Clear();
        done = PyObject_CallMethod(p->future, "cancel", NULL);
    }
    Py_XDECREF(done);
}

/* A hand has ended the call that the function came with. Futures are for the thread of their loop only. */
static void cancel_from_afar(const struct promise *p) {
    PyObject *loop = Py_XNewRef(p->crowd->loop);
    PyObject *cancel = loop == NULL ? NULL : PyObject_GetAttrString(p->future, "cancel");
    PyObject *told = cancel == NULL ? NULL : PyObject_CallMethod(loop, "call_soon_threadsafe", "O", cancel);
    Py_XDECREF(told);
    Py_XDECREF(cancel);
    Py_XDECREF(loop);
}

/* Answers are read on the main thread; any thread may end a call. */
static void keep_promise(struct pc_waiter *w) {
    struct promise *p = (struct promise *)w;
    if (w->state == PC_WAITER_WAITS) {
        return;
    }
    PyObject *before = pc_exception_take();
    if (PyThread_get_thread_ident() == home) {
        settle(p);
    } else {
        cancel_from_afar(p);
    }
    PyErr_Clear();
    drop_promise(p);
    pc_exception_restore(before);
}

/* -1 with an exception. Once it is sent it may be kept, and freed, whenever Python runs. */
static int send_promise(struct promise *p, const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct pc_outbox out;
    pc_outbox_init(&out);
    int sent = pc_function_write(&out, f, p->w.id, false, args, kwargs);
    if (sent == 0 && p->w.state != PC_WAITER_WAITS) { /* converters have run: the call has ended meanwhile */
        pc_waiter_raise_gone();
        sent = -1;
    }
    if (sent == 0) {
        begin_wait(f->call);
        p->sent = true;
        p->w.wake = keep_promise;
        sent = send_frame(&out, false);
    }
    pc_outbox_destroy(&out);
    return sent;
}

static PyObject *call_on_loop(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct promise *p = PyMem_Calloc(1, sizeof *p);
    if (p == NULL || crowd->loop == NULL) {
        PyMem_Free(p);
        return PyErr_NoMemory();
    }
    pc_waiter_begin(&p->w, f->call, NULL);
    p->crowd = crowd;
    p->future = PyObject_CallMethod(crowd->loop, "create_future", NULL);
    PyObject *future = Py_XNewRef(p->future);
    if (future == NULL || send_promise(p, f, args, kwargs) < 0) {
        drop_promise(p);
        Py_CLEAR(future);
    } else {
        pc_crowd_settle(crowd);
    }
    return future;
}

/* ---- Both */

static PyObject *call(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    return PyThread_get_thread_ident() == home ? call_on_loop(f, args, kwargs) : call_in_thread(f, args, kwargs);
}

/* What the socket does not take is the main thread's to send. */
static int tell(const struct pc_function *f, PyObject *args) {
    struct pc_outbox out;
    pc_outbox_init(&out);
    int told = pc_function_write(&out, f, pc_waiter_spare_id(), false, args, Py_None);
    int flow = told < 0 ? PC_FLOW_SENT : pc_outflow_put(&crowd->flow, &out);
    if (flow == PC_FLOW_WAITS) {
        pc_crowd_ring(crowd);
    }
    pc_outbox_destroy(&out);
    return told < 0 || flow < 0 ? -1 : 0;
}

static bool runs(uint64_t id) { return crowd != NULL && !crowd->closed && pc_crowd_find(crowd, id) != NULL; }

static uint64_t only(void) { return 0; }

void pc_crowd_functions_open(struct pc_crowd *c) {
    crowd = c;
    home = PyThread_get_thread_ident();
    caller = (struct pc_caller){.max_frame = c->s.to.max_frame,
                                .max_depth = c->s.to.max_depth,
                                .runs = runs,
                                .only = only,
                                .call = call,
                                .tell = tell};
    pc_function_serve(&caller);
}

void pc_crowd_functions_close(void) {
    pc_function_serve(NULL);
    pc_waiter_end_call(0, true);
    crowd = NULL;
}

void pc_crowd_function_ring(const struct pc_call *call) { pc_waiter_ring(call->q.from.id); }

void pc_crowd_function_end_call(const struct pc_call *call) {
    if (call->functions > 0) {
        call->crowd->waiting--;
    }
    pc_waiter_end_call(call->q.from.id, false); /* also those whose arguments are being encoded */
}
