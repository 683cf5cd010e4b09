#ifndef PC_PYTHON_EVENTS_H
#define PC_PYTHON_EVENTS_H

/* Events of telemetry that tools emit (docs/protocol.md section 4, docs/events.md). */

#include "core.h"

int pc_events_init(void);

/*
 * Module function emit(name, measurements=None, metadata=None) -> bool. Whether it is on its way: false when there was no room for it, or in a process that
 * serves no calls. What is no event is an exception, there too. Never waits.
 */
PyObject *pc_events_emit(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);

/* emit_span(name, duration_ns, measurements, metadata) -> bool: the same with a duration that the VM turns into units of its own. */
PyObject *pc_events_emit_span(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* open_events(credit): from now on so many may be sent. */
PyObject *pc_events_open(PyObject *module, PyObject *credit);

#endif
