#ifndef PC_PYTHON_VARIABLE_H
#define PC_PYTHON_VARIABLE_H

/* Context variables that hold something while code of a call runs, and then again what they held before. */

#include "core.h"

/* Makes it, once, for the life of the process. */
int pc_variable_init(PyObject **variable, const char *name);

/* In the current context. Steals the value, which may be NULL with an exception; what it returns is for pc_variable_reset, which it is given back to. */
PyObject *pc_variable_set(PyObject *variable, PyObject *value);

/* Keeps an exception that is set. */
void pc_variable_reset(PyObject *variable, PyObject *token);

#endif
