#ifndef PC_PYTHON_SERVE_H
#define PC_PYTHON_SERVE_H

/* A worker's loop: read, decode, call, encode, write; no Python frame of ours between the socket and the tool. */

#include "core.h"

/*
 * Module function serve(call_fd, side_fd, tools, max_frame=…, max_depth=…, spin_us=0, started_fd=-1) -> "eof" | "shutdown". `tools` maps a name to
 * (callable, None | dict for pc_args_read). Both sockets stay the caller's; started_fd, the file for published.h, is closed in any case. Refused in a process that a tool forked.
 */
PyObject *pc_serve(PyObject *module, PyObject *args, PyObject *kwargs);

#endif
