#ifndef PC_PYTHON_ENCODE_H
#define PC_PYTHON_ENCODE_H

/* Python objects to MessagePack (docs/protocol.md, Extension types). */

#include "codec/writer.h"
#include "core.h"

/*
 * Appends one value to w. On failure an EncodeError whose message starts with `root` and the path, or whatever Python
 * raised; w then holds half a value, which the caller undoes. w->status is PC_TOO_BIG when the limit was the reason.
 * May run Python code (__index__), so w must not be reachable from it.
 */
int pc_encode(struct pc_writer *w, PyObject *value, unsigned max_depth, const char *root);

#endif
