#ifndef PC_PYTHON_KEYS_H
#define PC_PYTHON_KEYS_H

/*
 * Map keys and elements of sets that are different terms and equal in Python ("a" and the atom a; 1, 1.0 and True). Looked for
 * only when a dict or a set came out smaller than it should be.
 */

#include "decode.h"

/*
 * Reads a map again, whose n pairs begin at `start` and end where d stands, and which became `dict`. The very same key
 * twice is no collision, the last value wins: `dict`. Otherwise, as the options say, a pitcrew.Map of all pairs, or a DecodeError that
 * names two keys that collide; always the error when the map must be hashable.
 */
PyObject *pc_keys_resolve(struct pc_decoder *d, PyObject *dict, const uint8_t *start, uint32_t n, bool frozen);

/* The same for the n elements of a set: 0 when some were there twice, or a DecodeError. */
int pc_keys_check_set(struct pc_decoder *d, const uint8_t *start, uint32_t n);

#endif
