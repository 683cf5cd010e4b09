#ifndef PC_PYTHON_TENSORS_H
#define PC_PYTHON_TENSORS_H

/* Extension 10: whatever has the buffer protocol and is not bytes (python/pitcrew/tensors.py says which dtypes). */

#include "decode.h"
#include "encoder.h"

/* 0, -1, or 1 when the value has no buffer. */
int pc_tensor_write(struct pc_encoder *e, PyObject *value);

/* A numpy.ndarray if NumPy can be imported, else, and inside a map's key, a pitcrew.Tensor. */
PyObject *pc_tensor_read(const uint8_t *payload, uint32_t n, bool frozen);

#endif
