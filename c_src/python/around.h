#ifndef PC_PYTHON_AROUND_H
#define PC_PYTHON_AROUND_H

/* Something that is called in the place of each tool, with the tool before its arguments, and calls it: what profiles threads. With the GIL. */

#include "args.h"

/* around(callable or None): from now on, in all threads. */
PyObject *pc_around_set(PyObject *module, PyObject *callable);

/* Calls a tool, whose arguments stay `a`'s. One comparison more where there is nothing around it. */
PyObject *pc_around_call(PyObject *tool, struct pc_args *a);

#endif
