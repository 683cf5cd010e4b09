#ifndef PC_PYTHON_LOGGING_H
#define PC_PYTHON_LOGGING_H

/* Python's logging, as the handler of pitcrew.logs hands it over. */

#include "core.h"

/*
 * Module function log(level, message, logger, module, function, path, line, time_us) -> bool. False: this process serves no calls (yet, or any
 * more, or it was forked by a tool), so that the record is the caller's to show. Never waits.
 */
PyObject *pc_logging_log(PyObject *module, PyObject *args);

#endif
