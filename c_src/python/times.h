#ifndef PC_PYTHON_TIMES_H
#define PC_PYTHON_TIMES_H

/*
 * Extensions 5 to 8 and the timestamp: datetime.date, time and datetime. A precision that Python's types do not have
 * is kept in a subclass, pitcrew.Time or pitcrew.DateTime (python/pitcrew/times.py).
 */

#include "decode.h"
#include "encoder.h"

/* 0, -1, or 1 when the value is none of datetime's. */
int pc_time_write(struct pc_encoder *e, PyObject *value);

/* The payload of extension 5, 6, 7 or 8. */
PyObject *pc_time_read(int8_t type, const uint8_t *payload, uint32_t n);

/* The payload of a timestamp, as pc_decode_opts says. */
PyObject *pc_time_read_timestamp(enum pc_timestamps form, const uint8_t *payload, uint32_t n);

#endif
