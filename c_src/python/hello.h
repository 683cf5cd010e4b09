#ifndef PC_PYTHON_HELLO_H
#define PC_PYTHON_HELLO_H

/* The first frame that comes from the VM, and what comes with it. */

#include "core.h"

/*
 * Module function read_hello(fd) -> (list | None at end of file, list of the descriptors that came with its first byte). More descriptors
 * than two, or with other frames, are closed.
 */
PyObject *pc_hello_read(PyObject *module, PyObject *arg);

#endif
