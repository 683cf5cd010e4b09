/*
 * What the main thread of a crowd waits for: frames, room for answers, and the bell. It polls by itself until the first coroutine comes; from
 * then on it is asyncio's loop that waits, and calls us.
 */

#include <errno.h>
#include <poll.h>

#include "context.h"
#include "crowd.h"
#include "current.h"
#include "deadline.h"
#include "driver.h"
#include "upkeep.h"

/* ---- What there is to do */

static void write_on(struct pc_crowd *c) {
    if (pc_outflow_flush(&c->flow) == PC_FLOW_GONE) {
        pc_crowd_end(c, PC_END_OF_FILE);
    }
}

static void answer_bell(struct pc_crowd *c) {
    pc_bell_hush(&c->bell);
    c->rung = false;
    pc_upkeep_trim();
    struct pc_call *call;
    while ((call = pc_call_pop(&c->handed)) != NULL) {
        pc_crowd_start_coroutine(call);
    }
    if (c->paused && !pc_crowd_is_full(c) && c->next == PC_GO_ON) {
        pc_crowd_read(c);
    }
}

/* ---- Without a loop */

static void poll_once(struct pc_crowd *c) {
    enum { CALLS, BELL, BOTH };
    struct pollfd p[BOTH] = {[CALLS] = {.fd = c->s.to.fd}, [BELL] = {.fd = c->bell.ends[0], .events = POLLIN}};
    if (c->paused && !pc_crowd_is_full(c)) {
        pc_crowd_read(c);
        return;
    }
    p[CALLS].events = (short)((pc_crowd_reads(c) ? POLLIN : 0) | (c->flow.first != NULL ? POLLOUT : 0));
    int ready, error;
    Py_BEGIN_ALLOW_THREADS ready = poll(p, BOTH, -1);
    error = errno;
    Py_END_ALLOW_THREADS if (ready < 0 && error != EINTR) {
        errno = error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        pc_crowd_end(c, PC_RAISED);
        return;
    }
    if (PyErr_CheckSignals() < 0) {
        pc_crowd_end(c, PC_RAISED);
        return;
    }
    if (ready < 0) {
        return;
    }
    if ((p[CALLS].revents & POLLOUT) != 0) {
        write_on(c);
    }
    if (!pc_crowd_reads(c) && (p[CALLS].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        pc_crowd_end(c, PC_END_OF_FILE); /* nobody is there any more for what runs */
    } else if (pc_crowd_reads(c) && (p[CALLS].revents & ~POLLOUT) != 0) {
        pc_crowd_read(c);
    }
    if (p[BELL].revents != 0) {
        answer_bell(c);
    }
}

/* ---- With a loop */

/* Of a failure to ask the loop there is nobody to tell but whoever serves. */
static void ask(struct pc_crowd *c, const char *method, int fd, PyObject *callback) {
    PyObject *done = callback == NULL ? PyObject_CallMethod(c->loop, method, "i", fd)
                                      : PyObject_CallMethod(c->loop, method, "iO", fd, callback);
    if (done == NULL) {
        pc_crowd_end(c, PC_RAISED);
    }
    Py_XDECREF(done);
}

static void stop_loop(struct pc_crowd *c) {
    PyObject *done = PyObject_CallMethod(c->loop, "stop", NULL);
    Py_XDECREF(done);
    PyErr_Clear();
}

void pc_crowd_settle(struct pc_crowd *c) {
    if (c->on_input == NULL) {
        return; /* no loop, or it is being left */
    }
    bool reads = pc_crowd_reads(c), writes = c->flow.first != NULL;
    if (c->paused && !pc_crowd_is_full(c) && !c->resuming) {
        PyObject *done = PyObject_CallMethod(c->loop, "call_soon", "O", c->on_input);
        c->resuming = done != NULL;
        Py_XDECREF(done);
        PyErr_Clear();
    }
    if (reads != c->reads) {
        c->reads = reads;
        ask(c, reads ? "add_reader" : "remove_reader", c->s.to.fd, reads ? c->on_input : NULL);
    }
    if (writes != c->writes) {
        c->writes = writes;
        ask(c, writes ? "add_writer" : "remove_writer", c->s.to.fd, writes ? c->on_room : NULL);
    }
    if (c->next != PC_GO_ON) {
        stop_loop(c);
    }
}

static void take_input(struct pc_crowd *c) {
    c->resuming = false;
    if (c->next == PC_GO_ON) {
        pc_crowd_read(c);
    }
}

/* The loop may call late: others run it, too, once the crowd has left it. */
static PyObject *called(PyObject *capsule, void (*work)(struct pc_crowd *c)) {
    pc_crowd_leave_fork();
    struct pc_crowd *c = PyCapsule_GetPointer(capsule, NULL);
    if (c->on_input != NULL) {
        work(c);
        pc_crowd_settle(c);
    }
    return Py_NewRef(Py_None);
}

static PyObject *input(PyObject *capsule, PyObject *unused) {
    (void)unused;
    return called(capsule, take_input);
}

static PyObject *room(PyObject *capsule, PyObject *unused) {
    (void)unused;
    return called(capsule, write_on);
}

static PyObject *bell(PyObject *capsule, PyObject *unused) {
    (void)unused;
    return called(capsule, answer_bell);
}

static void let_go(PyObject *capsule) { pc_crowd_release(PyCapsule_GetPointer(capsule, NULL)); }

/* For as long as the loop has one of them they have a reference to the crowd. */
static int make_callbacks(struct pc_crowd *c) {
    static PyMethodDef definitions[] = {
        {"input", input, METH_NOARGS, NULL}, {"room", room, METH_NOARGS, NULL}, {"bell", bell, METH_NOARGS, NULL}};
    PyObject *capsule = PyCapsule_New(c, NULL, let_go);
    if (capsule != NULL) {
        c->refs++;
        c->on_room = PyCFunction_New(&definitions[1], capsule);
        c->on_bell = PyCFunction_New(&definitions[2], capsule);
        c->on_input = PyCFunction_New(&definitions[0], capsule);
        Py_DECREF(capsule);
    }
    return c->on_input == NULL || c->on_room == NULL || c->on_bell == NULL ? -1 : 0;
}

static void run_loop(struct pc_crowd *c) {
    if (c->on_input == NULL) {
        if (make_callbacks(c) < 0) {
            pc_crowd_end(c, PC_RAISED);
            return;
        }
        ask(c, "add_reader", c->bell.ends[0], c->on_bell);
    }
    pc_crowd_settle(c);
    /* A tool may stop the loop; then it goes on. If we have, it runs once all the same, or else it would stop for whoever runs it next. */
    PyObject *ran = PyObject_CallMethod(c->loop, "run_forever", NULL);
    if (ran == NULL) {
        pc_crowd_end(c, PC_RAISED);
    }
    Py_XDECREF(ran);
}

void pc_crowd_leave_loop(struct pc_crowd *c) {
    if (c->on_input != NULL) {
        ask(c, "remove_reader", c->s.to.fd, NULL);
        ask(c, "remove_writer", c->s.to.fd, NULL);
        ask(c, "remove_reader", c->bell.ends[0], NULL);
    }
    Py_CLEAR(c->on_input);
    Py_CLEAR(c->on_room);
    Py_CLEAR(c->on_bell);
    Py_CLEAR(c->loop);
}

void pc_crowd_turn(struct pc_crowd *c) {
    if (c->loop == NULL) {
        poll_once(c);
    } else {
        run_loop(c);
    }
}

/* ---- Coroutines */

static void ended(void *whose, PyObject *result) {
    struct pc_call *call = whose;
    pc_crowd_end_call(call, &call->crowd->s.to, result);
}

/* The task has a copy of the context that it is made in. 1: the call has ended, and is gone. */
static int start_task(PyObject *driver, const struct pc_call *call) {
    struct pc_context context;
    if (pc_context_enter(&call->q, &context) < 0) {
        return -1;
    }
    PyObject *deadline = pc_deadline_put(call->q.deadline_ns);
    PyObject *current = deadline == NULL ? NULL : pc_current_put(call->q.from.id, call->q.name);
    int started = current == NULL ? -1 : pc_driver_start(driver, call->crowd->loop);
    if (current != NULL) {
        pc_current_restore(current);
    }
    if (deadline != NULL) {
        pc_deadline_restore(deadline);
    }
    pc_context_leave(&context);
    return started;
}

void pc_crowd_start_coroutine(struct pc_call *call) {
    struct pc_crowd *c = call->crowd;
    if (c->loop == NULL) {
        c->loop = pc_driver_loop();
    }
    PyObject *coroutine = call->coroutine;
    call->coroutine = NULL;
    if (c->loop == NULL) {
        Py_DECREF(coroutine);
        ended(call, NULL);
        return;
    }
    PyObject *driver = pc_driver_new(coroutine, call->q.from.id, ended, call);
    if (driver == NULL) {
        ended(call, NULL);
        return;
    }
    call->driver = driver;
    int started = start_task(driver, call);
    if (started < 0) {
        pc_driver_fail(driver);
    }
    for (; started == 0 && call->interrupts > 0; call->interrupts--) {
        if (pc_driver_interrupt(driver, true) < 0) {
            PyErr_Clear();
        }
    }
}
