#ifndef PC_PYTHON_TENSORS_H
#define PC_PYTHON_TENSORS_H

/* Extension 10: whatever has the buffer protocol and is not bytes (python/pitcrew/tensors.py says which dtypes). */

#include "decode.h"
#include "encoder.h"

/* 0, -1, or 1 when the value has no buffer. */
int pc_tensor_write(struct pc_encoder *e, PyObject *value);

struct pc_loans;

/*
 * A numpy.ndarray if NumPy can be imported, else, and inside a map's key, a pitcrew.Tensor. Its data may be in a segment, unless `loans`
 * is NULL.
 */
PyObject *pc_tensor_read(struct pc_loans *loans, const uint8_t *payload, uint32_t n, bool frozen);

#endif
