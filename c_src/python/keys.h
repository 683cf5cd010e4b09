#ifndef PC_PYTHON_KEYS_H
#define PC_PYTHON_KEYS_H

/*
 * Map keys that are different terms and equal in Python ("a" and the atom a; 1, 1.0 and True). Looked for only when a dict came
 * out smaller than its map was.
 */

#include "decode.h"

/*
 * Reads the keys of a map again, whose n pairs begin at `start` and end where d stands: a DecodeError that names the first two
 * that collide. The very same key twice is no collision: the last value wins.
 */
int pc_keys_check(const struct pc_decoder *d, const uint8_t *start, uint32_t n);

#endif
