#ifndef PC_PYTHON_BIGINT_H
#define PC_PYTHON_BIGINT_H

/* Integers beyond 64 bits: extension PC_EXT_BIGINT, a sign byte and the magnitude, least significant byte first. */

#include "codec/writer.h"
#include "core.h"

/* Writes an int (or subclass) of any size, as an extension. */
int pc_bigint_encode(struct pc_writer *w, PyObject *value);

/* Reads the extension's payload; a DecodeError if it breaks the rule. */
PyObject *pc_bigint_decode(const uint8_t *payload, uint32_t n);

#endif
