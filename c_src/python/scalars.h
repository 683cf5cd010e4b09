#ifndef PC_PYTHON_SCALARS_H
#define PC_PYTHON_SCALARS_H

/* Writing values that hold no others. 0, or -1 with an EncodeError that has no path yet, or with what Python raised. */

#include "codec/writer.h"
#include "core.h"

/* str, Atom and int, or subclasses of them. */
int pc_scalar_write_str(struct pc_writer *w, PyObject *text);
int pc_scalar_write_atom(struct pc_writer *w, PyObject *atom);
int pc_scalar_write_int(struct pc_writer *w, PyObject *value);

int pc_scalar_write_memoryview(struct pc_writer *w, PyObject *value);

/* Whatever is none of the types above, nor a float, bytes or a container: a number by __index__, a scalar of NumPy, or an error. */
int pc_scalar_write_other(struct pc_writer *w, PyObject *value);

#endif
