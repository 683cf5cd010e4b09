/*
 * See function_alone.h. Frames go out through one outbox, which whoever wants something sent flushes: so each is whole, also where an exception or
 * another thread comes in between. The socket is shared with the chunks of a stream: what has been begun there is sent to its end first, by whoever
 * comes next, and a chunk is held only while nothing is to be sent here. A thread that waits does so for the socket and for its bell: somebody else may have read its answer.
 */

#include "function_alone.h"

#include "aside.h"
#include "bell.h"
#include "channel.h"
#include "current.h"
#include "driver.h"
#include "function.h"
#include "hold.h"
#include "inner.h"
#include "waiter.h"

struct sleeper {
    struct pc_waiter w; /* the first member, so that one is the other */
    const struct pc_bell *bell;
};

static struct pc_server *server; /* NULL: nothing is served */
static struct pc_caller caller;
static struct level {
    uint64_t id;
    PyObject *name;       /* borrowed */
} levels[PC_MOST_LEVELS]; /* calls that run, each inside of the one before */
static unsigned count;
static unsigned long home; /* the thread that serves */
static struct pc_outbox out;
static struct pc_bell home_bell = {.ends = {-1, -1}}; /* opened when that waits for the first time */

static bool runs(uint64_t id) {
    unsigned i = count;
    while (i > 0 && levels[i - 1].id != id) {
        i--;
    }
    return i > 0;
}

static void wake(struct pc_waiter *w) { pc_bell_ring(((struct sleeper *)w)->bell); }

/* ---- Sending */

/* A chunk that the socket has part of, which the stream counts, or else what the hold has. */
static enum pc_io flush_others(void) {
    struct pc_outbox *chunk = &server->to.out;
    if (chunk->sent > 0) {
        return pc_outbox_flush(chunk, server->to.fd);
    }
    return pc_hold_any() ? pc_hold_flush() : PC_IO_DONE;
}

bool pc_function_sends(void) { return server != NULL && pc_outbox_pending(&out) > 0; }

/* The socket takes our own bytes in one piece or, after a wait, in several. */
enum pc_io pc_function_flush(void) {
    enum pc_io put = pc_function_sends() ? flush_others() : PC_IO_DONE;
    if (put == PC_IO_DONE && pc_function_sends()) {
        uint64_t before = out.total;
        put = pc_outbox_flush(&out, server->to.fd);
        pc_hold_count((size_t)(out.total - before));
    }
    return put;
}

/* Behind what is still to be sent. */
static int put(const struct pc_outbox *frame) {
    struct pc_writer *w = &out.w;
    w->grow = pc_grow_malloc;
    w->max = w->len + frame->w.len;
    pc_writer_append(w, frame->w.data, frame->w.len);
    if (w->status == PC_OK) {
        return 0;
    }
    w->status = PC_OK;
    (void)PyErr_NoMemory();
    return -1;
}

/* 1: sent. 0: nobody reads it. -1: an exception, and the rest is still to be sent. */
static int flush(void) {
    while (pc_function_sends()) {
        enum pc_io put = pc_function_flush();
        if (put == PC_IO_EOF) {
            return 0;
        }
        if (put == PC_IO_AGAIN && pc_channel_wait_room(server->to.fd) < 0) {
            return -1;
        }
    }
    return server != NULL;
}

/* What is left of frames that were cut by an exception. */
static enum pc_next flush_rest(void) {
    if (!pc_function_sends()) {
        return PC_GO_ON;
    }
    int sent = flush();
    return sent > 0 ? PC_GO_ON : sent == 0 ? PC_END_OF_FILE : PC_RAISED;
}

/* ---- Waiting */

/*
 * All that there is, for nobody is told of frames that are in the inbox already. When the call has ended, which it may whenever Python runs, they are
 * the serve loop's.
 */
static enum pc_io read_all(const struct sleeper *s) {
    enum pc_io io = PC_IO_DONE;
    while (io == PC_IO_DONE && runs(s->w.call)) {
        if (s->bell == &home_bell && pc_inner_run(server) < 0) {
            return PC_IO_BAD;
        }
        io = pc_aside_read(server);
    }
    return io;
}

/* Until it is answered, or ended; or -1 with an exception. */
static int wait_answer(struct sleeper *s) {
    while (s->w.state == PC_WAITER_WAITS) {
        enum pc_io io = read_all(s);
        if (PyErr_Occurred()) {
            return -1;
        }
        if (s->w.state != PC_WAITER_WAITS) {
            break;
        }
        if (io != PC_IO_AGAIN) { /* the serve loop will find it, too */
            PyErr_SetString(pc_Cancelled, "the VM has closed the connection, and waits no more for the call");
            return -1;
        }
        if (pc_bell_wait(s->bell, server->to.fd) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *exchange(const struct pc_bell *bell, const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct sleeper s = {.bell = bell};
    pc_waiter_begin(&s.w, f->call, wake);
    PyObject *result = NULL;
    struct pc_outbox frame;
    pc_outbox_init(&frame);
    bool waits = bell == &home_bell && pc_inner_can(server);
    int sent = pc_function_write(&frame, f, s.w.id, waits, args, kwargs);
    /* Converters have run: the call may have ended meanwhile. */
    if (sent == 0 && s.w.state == PC_WAITER_WAITS && (sent = put(&frame)) == 0 && (sent = flush()) >= 0) {
        sent = wait_answer(&s);
    }
    pc_outbox_destroy(&frame);
    if (sent >= 0) {
        result = pc_waiter_take(&s.w);
    }
    pc_waiter_end(&s.w);
    return result;
}

static PyObject *call_blocking(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct pc_bell own = PC_NO_BELL;
    struct pc_bell *bell = PyThread_get_thread_ident() == home ? &home_bell : &own;
    PyObject *result = pc_bell_open(bell) < 0 ? NULL : exchange(bell, f, args, kwargs);
    pc_bell_close(&own);
    return result;
}

/* What is to be awaited has happened already. Steals the result. */
static PyObject *as_awaitable(PyObject *result) {
    PyObject *exception = result == NULL ? pc_exception_take() : NULL;
    if (exception != NULL && !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception)) {
        pc_exception_restore(exception);
        return NULL;
    }
    PyObject *loop = pc_driver_running_loop();
    PyObject *future = PyObject_CallMethod(loop, "create_future", NULL);
    PyObject *done = future == NULL ? NULL : pc_waiter_settle(future, result, exception);
    if (done == NULL) {
        Py_CLEAR(future);
    }
    Py_XDECREF(done);
    Py_DECREF(loop);
    Py_XDECREF(result);
    Py_XDECREF(exception);
    return future;
}

static PyObject *call(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    bool awaited = PyThread_get_thread_ident() == home && pc_driver_runs();
    PyObject *result = call_blocking(f, args, kwargs);
    return awaited ? as_awaitable(result) : result;
}

static int tell(const struct pc_function *f, PyObject *args) {
    struct pc_outbox frame;
    pc_outbox_init(&frame);
    int told = pc_function_write(&frame, f, pc_waiter_spare_id(), false, args, Py_None);
    if (told == 0 && (told = put(&frame)) == 0) {
        (void)pc_function_flush(); /* if nobody reads it any more, the serve loop will find that, too */
    }
    pc_outbox_destroy(&frame);
    return told;
}

static uint64_t only(void) { return count == 0 ? 0 : levels[count - 1].id; }

/* Somebody else may have read what is the home thread's to run. */
static void ring_home(void) {
    if (PyThread_get_thread_ident() != home) {
        pc_bell_ring(&home_bell);
    }
}

/* ---- From the serve loop */

void pc_function_open_alone(struct pc_server *s) {
    server = s;
    server->on_inner = ring_home;
    count = 0;
    pc_inner_open();
    home = PyThread_get_thread_ident();
    pc_outbox_init(&out);
    caller = (struct pc_caller){.max_frame = s->to.max_frame,
                                .max_depth = s->to.max_depth,
                                .runs = runs,
                                .only = only,
                                .call = call,
                                .tell = tell};
    pc_function_serve(&caller);
}

void pc_function_close_alone(void) {
    pc_function_serve(NULL);
    pc_waiter_end_call(0, true);
    count = 0;
    pc_bell_close(&home_bell);
    pc_outbox_destroy(&out);
    server = NULL;
}

unsigned pc_function_levels(void) { return count; }

void pc_function_begin_call(uint64_t id, PyObject *name) {
    levels[count++] = (struct level){.id = id, .name = name};
    pc_current_set(id, name);
}

enum pc_next pc_function_end_call(void) {
    if (count == 0) {
        return PC_GO_ON;
    }
    PyObject *exception = pc_exception_take();
    pc_waiter_end_call(levels[count - 1].id, false);
    count--;
    pc_current_set(only(), count == 0 ? NULL : levels[count - 1].name);
    enum pc_next next = flush_rest();
    if (exception != NULL && next == PC_GO_ON) {
        pc_exception_restore(exception);
    } else {
        Py_XDECREF(exception);
    }
    return next;
}
