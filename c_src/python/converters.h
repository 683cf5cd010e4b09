#ifndef PC_PYTHON_CONVERTERS_H
#define PC_PYTHON_CONVERTERS_H

/* What pitcrew.register_type was told: how objects of a class become something that can be encoded. */

#include "core.h"

/* register_type(type, function); of pitcrew._core. TypeError for types that the encoder knows itself. */
PyObject *pc_converters_register(PyObject *module, PyObject *args);

/*
 * The function for the class of a value, borrowed: that of the class itself or of its nearest base; NULL, without an
 * exception, when there is none. `object` is the last resort, looked for only with `any`.
 */
PyObject *pc_converters_find(PyTypeObject *type, int any);

#endif
