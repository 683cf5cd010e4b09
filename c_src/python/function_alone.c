/*
 * See function_alone.h. Frames go out through one outbox, which whoever wants something sent flushes: so each is whole, also where an exception or
 * another thread comes in between. The socket is shared with the chunks of a stream: what has been begun there is sent to its end first, by whoever
 * comes next, and a chunk is held only while nothing is to be sent here. A thread that waits does so for the socket and for its bell: somebody else may have read its answer.
 */

#include "function_alone.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "aside.h"
#include "channel.h"
#include "driver.h"
#include "function.h"
#include "hold.h"
#include "waiter.h"

struct bell {
    struct pc_waiter w; /* the first member, so that one is the other */
    int ends[2];
};

static struct pc_server *server; /* NULL: nothing is served */
static struct pc_caller caller;
static uint64_t running;   /* the call that does; 0 */
static unsigned long home; /* the thread that serves */
static struct pc_outbox out;
static int home_bell[2] = {-1, -1}; /* opened when that waits for the first time */

static void close_bell(int ends[2]) {
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            (void)close(ends[i]);
        }
        ends[i] = -1;
    }
}

static int open_bell(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        (void)PyErr_SetFromErrno(PyExc_OSError);
        ends[0] = ends[1] = -1;
        return -1;
    }
    return 0;
}

static void wake(struct pc_waiter *w) {
    ssize_t put;
    do {
        put = write(((struct bell *)w)->ends[1], "", 1);
    } while (put < 0 && errno == EINTR);
}

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

static void wait_for(const struct bell *b) {
    struct pollfd p[] = {{.fd = server->to.fd, .events = POLLIN}, {.fd = b->ends[0], .events = POLLIN}};
    char rings[16];
    Py_BEGIN_ALLOW_THREADS(void) poll(p, 2, -1);
    Py_END_ALLOW_THREADS while (p[1].revents != 0 && read(b->ends[0], rings, sizeof rings) == (ssize_t)sizeof rings) {}
}

/*
 * All that there is, for nobody is told of frames that are in the inbox already. When the call has ended, which it may whenever Python runs, they are
 * the serve loop's.
 */
static enum pc_io read_all(uint64_t call) {
    enum pc_io io = PC_IO_DONE;
    while (io == PC_IO_DONE && running == call) {
        io = pc_aside_read(server);
    }
    return io;
}

/* Until it is answered, or ended; or -1 with an exception. */
static int wait_answer(struct bell *b) {
    while (b->w.state == PC_WAITER_WAITS) {
        enum pc_io io = read_all(b->w.call);
        if (b->w.state != PC_WAITER_WAITS) {
            break;
        }
        if (io != PC_IO_AGAIN) { /* the serve loop will find it, too */
            PyErr_SetString(pc_Cancelled, "the VM has closed the connection, and waits no more for the call");
            return -1;
        }
        wait_for(b);
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *exchange(struct bell *b, const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    pc_waiter_begin(&b->w, f->call, wake);
    PyObject *result = NULL;
    struct pc_outbox frame;
    pc_outbox_init(&frame);
    int sent = pc_function_write(&frame, f, b->w.id, args, kwargs);
    /* Converters have run: the call may have ended meanwhile. */
    if (sent == 0 && b->w.state == PC_WAITER_WAITS && (sent = put(&frame)) == 0 && (sent = flush()) >= 0) {
        sent = wait_answer(b);
    }
    pc_outbox_destroy(&frame);
    if (sent >= 0) {
        result = pc_waiter_take(&b->w);
    }
    pc_waiter_end(&b->w);
    return result;
}

static PyObject *call_blocking(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    struct bell b = {.ends = {-1, -1}};
    bool own = PyThread_get_thread_ident() != home;
    int *ends = own ? b.ends : home_bell;
    if (ends[0] < 0 && open_bell(ends) < 0) {
        return NULL;
    }
    b.ends[0] = ends[0];
    b.ends[1] = ends[1];
    PyObject *result = exchange(&b, f, args, kwargs);
    if (own) {
        close_bell(b.ends);
    }
    return result;
}

/* What is to be awaited has happened already. Steals the result. */
static PyObject *as_awaitable(PyObject *result) {
    PyObject *exception = result == NULL ? pc_exception_take() : NULL;
    if (exception != NULL && !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception)) {
        pc_exception_restore(exception);
        return NULL;
    }
    PyObject *loop = pc_driver_loop();
    PyObject *future = loop == NULL ? NULL : PyObject_CallMethod(loop, "create_future", NULL);
    PyObject *done = future == NULL ? NULL : pc_waiter_settle(future, result, exception);
    if (done == NULL) {
        Py_CLEAR(future);
    }
    Py_XDECREF(done);
    Py_XDECREF(loop);
    Py_XDECREF(result);
    Py_XDECREF(exception);
    return future;
}

static PyObject *call(void *context, const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    (void)context;
    bool awaited = PyThread_get_thread_ident() == home && pc_driver_runs();
    PyObject *result = call_blocking(f, args, kwargs);
    return awaited ? as_awaitable(result) : result;
}

static bool runs(void *context, uint64_t id) {
    (void)context;
    return running == id;
}

/* ---- From the serve loop */

void pc_function_open_alone(struct pc_server *s) {
    server = s;
    running = 0;
    home = PyThread_get_thread_ident();
    pc_outbox_init(&out);
    caller = (struct pc_caller){.max_frame = s->to.max_frame, .max_depth = s->to.max_depth, .runs = runs, .call = call};
    pc_function_serve(&caller);
}

void pc_function_close_alone(void) {
    pc_function_serve(NULL);
    pc_waiter_end_call(0, true);
    running = 0;
    close_bell(home_bell);
    pc_outbox_destroy(&out);
    server = NULL;
}

void pc_function_begin_call(uint64_t id) { running = id; }

enum pc_next pc_function_end_call(void) {
    if (running == 0) {
        return PC_GO_ON;
    }
    PyObject *exception = pc_exception_take();
    pc_waiter_end_call(running, false);
    running = 0;
    enum pc_next next = flush_rest();
    if (exception != NULL && next == PC_GO_ON) {
        pc_exception_restore(exception);
    } else {
        Py_XDECREF(exception);
    }
    return next;
}
