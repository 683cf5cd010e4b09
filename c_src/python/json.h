#ifndef PC_PYTHON_JSON_H
#define PC_PYTHON_JSON_H

/* Values in frames that are JSON (docs/json.md, A pool that speaks JSON). */

#include "codec/writer.h"
#include "core.h"

/*
 * Appends one value, and `end` behind it. Fails as pc_encode does: an EncodeError with its path complete, or what Python raised;
 * w->status is PC_TOO_BIG when the limit was the reason. None, bool, int of 64 bits, finite float, str, list, tuple, dict with
 * str keys, and what is derived from them.
 */
int pc_json_encode(struct pc_writer *w, PyObject *value, const char *end, unsigned max_depth, const char *root);

/* A string of n bytes, which are UTF-8. */
void pc_json_write_str(struct pc_writer *w, const char *utf8, size_t n);

/* The value of a text in which containers nest at most max_depth deep. DecodeError, its path complete, or what Python raised. */
PyObject *pc_json_decode(const uint8_t *text, size_t n, unsigned max_depth);

#endif
