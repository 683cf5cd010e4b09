#ifndef PC_PYTHON_UNPACKER_H
#define PC_PYTHON_UNPACKER_H

/* pitcrew.Unpacker: messages out of a stream that arrives in pieces. Documented in python/pitcrew/codec.py. */

#include "core.h"

int pc_unpacker_init(PyObject *module);

#endif
