#ifndef PC_PYTHON_DEADLINE_H
#define PC_PYTHON_DEADLINE_H

/* Until when the caller waits for what this thread is doing. Each thread has its own; none while it runs no call. */

#include "core.h"
#include "wire/clock.h"

/* As a call begins; PC_NO_DEADLINE as it ends. */
void pc_deadline_set(int64_t at_ns);

/* Module function: deadline() -> seconds left, not below 0.0, or None. */
PyObject *pc_deadline(PyObject *module, PyObject *unused);

#endif
