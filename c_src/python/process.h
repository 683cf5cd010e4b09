#ifndef PC_PYTHON_PROCESS_H
#define PC_PYTHON_PROCESS_H

/* What a worker does to its own process. */

#include "core.h"

/* Module function limit(name, value): see limits.h. OSError for what the kernel refuses, ValueError for a name that is none. */
PyObject *pc_process_limit(PyObject *module, PyObject *args);

/* Module function open_buffers(fd, most): see buffers.h. The socket is taken over in any case. */
PyObject *pc_process_open_buffers(PyObject *module, PyObject *args);

#endif
