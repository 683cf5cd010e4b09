/*
 * See inner.h. What belongs to the call that waits is put away meanwhile: its context, its exception that is being handled, its coroutine with the
 * loop that runs it, its deadline. Its interrupts wait until it goes on, and then interrupt what runs on top of it, too (turn.h).
 */

#include "inner.h"

#include <stdlib.h>

#include "deadline.h"
#include "driver.h"
#include "function_alone.h"
#include "guard.h"
#include "os/os.h"
#include "session.h"
#include "turn.h"

static uintptr_t stack_end; /* the lowest address of the stack of the thread that serves; 0: not known */
static size_t stack_size;

void pc_inner_open(void) { stack_end = 0; }

/* When it is first needed, which in most workers is never: the list of all that is mapped is read for it. */
static void find_stack(void) {
    void *lowest = NULL;
    stack_end = pc_os_stack(&lowest, &stack_size) == 0 ? (uintptr_t)lowest : 0;
}

/* Half of it is for what a tool does by itself. */
static bool has_stack(void) {
    const char here = 0;
    if (stack_end == 0) {
        find_stack();
    }
    return stack_end == 0 || (uintptr_t)&here - stack_end > stack_size / 2;
}

bool pc_inner_can(const struct pc_server *s) {
    return pc_function_levels() < PC_MOST_LEVELS && pc_outbox_pending(&s->to.out) == 0 && has_stack();
}

/* What is put away. */
struct rest {
    PyObject *context; /* that the call runs in, which is a copy of what there was */
    PyObject *handled;
    struct pc_driver_rest coroutine;
    int64_t deadline_ns;
};

static int put_away(struct rest *rest) {
    rest->context = PyContext_CopyCurrent();
    if (rest->context == NULL || PyContext_Enter(rest->context) < 0) {
        Py_CLEAR(rest->context);
        return -1;
    }
    if (pc_session_hide() < 0 || pc_driver_put_away(&rest->coroutine) < 0) {
        (void)PyContext_Exit(rest->context);
        Py_CLEAR(rest->context);
        return -1;
    }
    rest->handled = PyErr_GetHandledException();
    PyErr_SetHandledException(NULL);
    rest->deadline_ns = pc_deadline_get();
    pc_deadline_set(PC_NO_DEADLINE);
    pc_turn_suspend();
    return 0;
}

/* Keeps an exception that is set. */
static void take_out(struct rest *rest) {
    PyObject *exception = pc_exception_take();
    if (!pc_guard_forked()) {
        pc_turn_resume();
    }
    pc_deadline_set(rest->deadline_ns);
    PyErr_SetHandledException(rest->handled);
    Py_XDECREF(rest->handled);
    pc_driver_take_out(&rest->coroutine);
    if (PyContext_Exit(rest->context) < 0) {
        PyErr_Clear(); /* the tool has left its context in a mess */
    }
    Py_DECREF(rest->context);
    pc_exception_restore(exception);
}

/* -1: the call that waits must not go on waiting. */
static int run_one(struct pc_server *s) {
    const uint8_t *payload;
    size_t n;
    uint8_t *frame;
    struct rest rest;
    struct pc_request q;
    if (put_away(&rest) < 0) {
        return -1;
    }
    enum pc_next next = PC_RAISED;
    if (pc_inbox_read(&s->inner, s->to.fd, s->to.max_frame, 0, &payload, &n) == PC_IO_DONE &&
        pc_inbox_take(&s->inner, &frame)) {
        next = pc_server_frame(s, &q, payload, n);
        free(frame);
    } else {
        (void)PyErr_NoMemory();
    }
    take_out(&rest);
    if (next != PC_RAISED && next != PC_GO_ON) {
        PyErr_SetString(pc_Cancelled, "the VM has closed the connection, and waits no more for the call");
    }
    return next == PC_GO_ON ? 0 : -1;
}

int pc_inner_run(struct pc_server *s) {
    while (pc_inbox_whole(&s->inner) && pc_function_levels() < PC_MOST_LEVELS) {
        if (PyErr_CheckSignals() < 0) { /* before anything begins, and of what was put away */
            return -1;
        }
        if (pc_inbox_whole(&s->inner) && run_one(s) < 0) { /* a handler may have run it */
            return -1;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
    return 0;
}
