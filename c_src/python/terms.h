#ifndef PC_PYTHON_TERMS_H
#define PC_PYTHON_TERMS_H

/* pitcrew.Opaque, pitcrew.Ext and pitcrew.Timestamp: payloads that go back as they came. */

#include "encoder.h"

/* 0, -1, or 1 when the value is none of theirs. */
int pc_term_write_opaque(struct pc_encoder *e, PyObject *value);
int pc_term_write_ext(struct pc_encoder *e, PyObject *value); /* Ext and Timestamp */

PyObject *pc_term_read_opaque(const uint8_t *payload, uint32_t n);
PyObject *pc_term_read_ext(int8_t type, const uint8_t *payload, uint32_t n);

#endif
