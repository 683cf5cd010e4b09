#ifndef PC_PYTHON_ARGS_H
#define PC_PYTHON_ARGS_H

/* The `args` and `kwargs` of a call frame, in the array that a vectorcall wants. */

#include "core.h"
#include "decode.h"

enum { PC_ARGS_INLINE = 16 };

struct pc_args {
    PyObject **items; /* positional, then keyword values; items[-1] belongs to the callee during the call */
    size_t count;     /* how many are owned */
    size_t positional;
    PyObject *kwnames; /* tuple, or NULL when there are none */
    size_t room;
    PyObject *space[PC_ARGS_INLINE + 1];
};

/* Always first; pc_args_clear releases everything, whatever happened. */
void pc_args_init(struct pc_args *a);
void pc_args_clear(struct pc_args *a);

/*
 * Reads them straight from MessagePack. `binary` (dict or NULL) says which parameters are annotated as bytes or memoryview: it maps an index, a name, "*" or "**" to
 * that type or to None, and a str or a bin on the wire becomes it.
 *
 * On failure: DecodeError with its path complete, TypeError for keyword names that are no strings, ProtocolError if there is no
 * array, or no map and no nil, where they should be.
 */
int pc_args_read(struct pc_args *a, struct pc_decoder *d, PyObject *binary);

/* From a list, and a dict whose keys are strs, or None. ProtocolError if they are something else; nobody else changes them. */
int pc_args_take(struct pc_args *a, PyObject *args, PyObject *kwargs);

#endif
