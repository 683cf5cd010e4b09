#ifndef PC_PYTHON_DECODE_H
#define PC_PYTHON_DECODE_H

/* MessagePack to Python objects (docs/protocol.md, Extension types). */

#include "codec/reader.h"
#include "core.h"
#include "path.h"

struct pc_decoder {
    struct pc_reader r;
    uint64_t owed; /* values that containers have announced and that have not been read: each is at least one byte */
    unsigned depth_left;
    struct pc_path path;
};

/* Over memory that stays as it is until the last value has been read. pc_decoder_destroy when done, whatever happened. */
void pc_decoder_init(struct pc_decoder *d, const void *data, size_t n, unsigned max_depth);
void pc_decoder_destroy(struct pc_decoder *d);

/* One value. The DecodeError has no path yet: the caller pushes what it knows, then calls pc_path_complete. */
PyObject *pc_decode_value(struct pc_decoder *d);

/* The next token, checked against what is owed; for callers that read a container by themselves. */
int pc_decode_token(struct pc_decoder *d, struct pc_token *t);

/* The value that starts with a token which has been read. */
PyObject *pc_decode_rest(struct pc_decoder *d, const struct pc_token *t);

/* The key of a map: lists and maps in it are frozen, and most are short strings that were here before. */
PyObject *pc_decode_key(struct pc_decoder *d);

/* Sets a DecodeError (MemoryError for PC_NO_MEMORY). */
void pc_decode_fail(enum pc_status status);

#endif
