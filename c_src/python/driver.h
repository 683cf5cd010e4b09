#ifndef PC_PYTHON_DRIVER_H
#define PC_PYTHON_DRIVER_H

/*
 * A coroutine that a tool has returned, on the worker's event loop (pitcrew/aio.py). A driver stands between it and the task that
 * runs it: it takes the outcome, whatever the loop thinks of it, and at an await point makes a pitcrew.Cancelled, which is an
 * asyncio.CancelledError too, of the task's cancellation. It knows whether the coroutine's own code runs: only there may a signal
 * raise something.
 */

#include <stdbool.h>

#include "core.h"

/* Once: with what the coroutine returned, which is the callee's, or NULL and an exception. */
typedef void (*pc_driver_ended)(void *whose, PyObject *result);

int pc_driver_init(void);

/*
 * Steals the coroutine. `id` is the call's where many run, and the driver then tells turn.h whose code runs; or 0. A driver that is dropped
 * unfinished ends with asyncio's RuntimeError.
 */
PyObject *pc_driver_new(PyObject *coroutine, uint64_t id, pc_driver_ended ended, void *whose);

/*
 * Makes the task; on the loop's thread. 1: the loop begins its tasks where they are made, and this one has ended already, which `ended` was told.
 * -1 with an exception.
 */
int pc_driver_start(PyObject *driver, PyObject *loop);
/* Could not be started: it ends with the exception that is set. */
void pc_driver_fail(PyObject *driver);

/*
 * Cancelled is raised where the coroutine waits; nothing happens when it has ended. From any thread, also in a handler of a signal. While its own code runs, only
 * with `waits`: at the next await.
 */
int pc_driver_interrupt(PyObject *driver, bool waits);
bool pc_driver_steps(PyObject *driver);

/* What an interrupt raises in the code that runs now: in a coroutine's the class that asyncio knows, too. Borrowed; or NULL with an exception. */
PyObject *pc_driver_cancelled(void);

/* The worker's event loop, made with the first call of this. */
PyObject *pc_driver_loop(void);

/* The task; borrowed, NULL before and after. */
PyObject *pc_driver_task(PyObject *driver);

/* Nobody is told of its end any more. It is cancelled, and ends when the loop runs again. Keeps the exception that is set. */
void pc_driver_abandon(PyObject *driver);

/* ---- driver_alone.c: one call at a time */

/* Runs a coroutine, whose reference is stolen, to its end, on the loop that others ran on before. */
PyObject *pc_driver_run(PyObject *coroutine);

/* Whether one runs. */
bool pc_driver_runs(void);

/* The loop that it runs on, a new reference. */
PyObject *pc_driver_running_loop(void);

/* The coroutine that runs, if one does, and the loop that the thread runs, also if it is a tool's own. */
struct pc_driver_rest {
    PyObject *driver, *loop; /* borrowed */
    PyObject *running, *task;
};

/* What waits is put away: what runs until it is taken out knows nothing of it, and has a loop of its own. -1: an exception, and nothing was done. Without one set. */
int pc_driver_put_away(struct pc_driver_rest *rest);
void pc_driver_take_out(struct pc_driver_rest *rest);

/* In the handler: 1 when what runs was told to end at its await; 0 when no coroutine waits, so that the handler may raise; or -1. */
int pc_driver_interrupt_run(void);

#endif
