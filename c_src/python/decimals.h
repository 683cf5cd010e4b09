#ifndef PC_PYTHON_DECIMALS_H
#define PC_PYTHON_DECIMALS_H

/* Extension 9: decimal.Decimal, exactly: neither the context's precision nor its traps are used. */

#include "decode.h"
#include "encoder.h"

/* 0, -1, or 1 when the value is no Decimal. */
int pc_decimal_write(struct pc_encoder *e, PyObject *value);

PyObject *pc_decimal_read(struct pc_decoder *d);

#endif
