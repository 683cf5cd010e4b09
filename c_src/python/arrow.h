#ifndef PC_PYTHON_ARROW_H
#define PC_PYTHON_ARROW_H

/* Extension 11: pitcrew.Arrow, and tables and record batches of pyarrow, as an Arrow IPC stream. */

#include "encoder.h"

/* 0, -1, or 1 when the value is none of theirs. */
int pc_arrow_write(struct pc_encoder *e, PyObject *value);

PyObject *pc_arrow_read(const uint8_t *payload, uint32_t n);

#endif
