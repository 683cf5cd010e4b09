#ifndef PC_PYTHON_DEADLINE_H
#define PC_PYTHON_DEADLINE_H

/*
 * Until when the caller waits for what this thread is doing. Each thread has its own; none while it runs no call. Where many coroutines share a
 * thread each task has its own instead, in a context variable, which the tasks that it starts inherit.
 */

#include "core.h"
#include "wire/clock.h"

/* As a call begins; PC_NO_DEADLINE as it ends. */
void pc_deadline_set(int64_t at_ns);
int64_t pc_deadline_get(void);

int pc_deadline_init(void);

/* Sets that variable in the current context; what it returns is for pc_deadline_restore, which it is given back to. */
PyObject *pc_deadline_put(int64_t at_ns);
void pc_deadline_restore(PyObject *token);

/* Module function: deadline() -> seconds left, not below 0.0, or None. */
PyObject *pc_deadline(PyObject *module, PyObject *unused);

#endif
