#ifndef PC_PYTHON_CURRENT_H
#define PC_PYTHON_CURRENT_H

/*
 * Which call what this thread is doing belongs to; as deadline.h, it is each thread's own or, where many coroutines share a thread, in a context variable
 * of each task, which the tasks that it starts inherit, and threads that are given a copy of the context. With the GIL.
 */

#include "core.h"

/* As a call of that tool begins in this thread, whose name must live until the next of these; 0 and NULL as it ends. */
void pc_current_set(uint64_t id, PyObject *name);

int pc_current_init(void);

/* Sets that variable in the current context; what it returns is for pc_current_restore, which it is given back to. */
PyObject *pc_current_put(uint64_t id, PyObject *name);
void pc_current_restore(PyObject *token);

/* The id, of a call that may have ended; 0 for none that is known here. -1 with an exception. */
int pc_current(uint64_t *id);

/* The same, and the name of its tool, a new reference; or NULL. */
int pc_current_call(uint64_t *id, PyObject **name);

#endif
