#ifndef PC_PYTHON_ZYGOTE_H
#define PC_PYTHON_ZYGOTE_H

/* The zygote's loop (docs/protocol.md section 6). */

#include "core.h"

/*
 * Module function zygote_loop(link_fd, argv) -> payload. `argv` is None to fork workers that go on from here, or the command
 * line (list of str) that executes each of them anew. On the main thread only. In the zygote it never returns: end of
 * file on the link is _exit(0). In a forked worker it returns the worker's number and decoded payload as a tuple.
 */
PyObject *pc_zygote_loop(PyObject *module, PyObject *args);

#endif
