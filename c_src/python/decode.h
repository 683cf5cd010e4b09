#ifndef PC_PYTHON_DECODE_H
#define PC_PYTHON_DECODE_H

/* MessagePack to Python objects (docs/protocol.md, Extension types). */

#include <stdbool.h>

#include "codec/reader.h"
#include "core.h"
#include "path.h"

/* What a timestamp becomes; the numbers are those of msgpack's option of that name. */
enum pc_timestamps {
    PC_TIMESTAMPS_OBJECT = 0,      /* pitcrew.Timestamp */
    PC_TIMESTAMPS_FLOAT = 1,       /* seconds */
    PC_TIMESTAMPS_NANOSECONDS = 2, /* int */
    PC_TIMESTAMPS_DATETIME = 3,    /* in UTC */
};

/* Maps whose keys Python calls equal. */
enum pc_keys {
    PC_KEYS_DICT,    /* refused */
    PC_KEYS_STRICT,  /* a pitcrew.Map */
    PC_KEYS_UNKNOWN, /* as `meta` says, which stands behind the arguments: looked for when it matters */
};

/* What the public codec lets its caller choose. */
struct pc_decode_opts {
    bool plain; /* extensions are not Pitcrew's */
    bool
        keep_ext; /* an extension that has no meaning becomes a pitcrew.Ext, or what ext_hook says; otherwise it is refused */
    bool raw;       /* str becomes bytes */
    bool as_tuple;  /* arrays become tuples */
    bool refs;      /* references are the objects that they refer to; otherwise extensions like any other */
    bool text_keys; /* keys other than str and bytes are refused */
    enum pc_timestamps timestamps;
    enum pc_keys keys;
    PyObject *ext_hook; /* callable(type, data), or NULL; borrowed */
    const char *errors; /* of bytes.decode; NULL is "strict" */
};

extern const struct pc_decode_opts pc_decode_of_calls;

struct pc_loans;

struct pc_decoder {
    struct pc_reader r;
    uint64_t owed; /* values that containers have announced and that have not been read: each is at least one byte */
    unsigned depth_left;
    const struct pc_decode_opts *opts;
    struct pc_path path;
    uint64_t call;           /* whose functions there may be, or 0: there must be none */
    struct pc_loans *loans;  /* for what is in segments (loans.h), or NULL: there must be none; borrowed */
    struct pc_reader behind; /* where the arguments of a call begin, for PC_KEYS_UNKNOWN */
    int behind_count;        /* how many values stand there */
    uint64_t again_left; /* bytes that may still be read once more for the sake of keys: without a bound, maps inside
                                the keys of maps would take exponential time */
};

/* Over memory that stays as it is until the last value has been read. pc_decoder_destroy when done, whatever happened. */
void pc_decoder_init(struct pc_decoder *d, const void *data, size_t n, unsigned max_depth);
void pc_decoder_destroy(struct pc_decoder *d);

/* One value. The DecodeError has no path yet: the caller pushes what it knows, then calls pc_path_complete. */
PyObject *pc_decode_value(struct pc_decoder *d);

/* The same where it must be hashable: lists, maps and sets in it are frozen. */
PyObject *pc_decode_frozen(struct pc_decoder *d);

/* The next token, checked against what is owed; for callers that read a container by themselves. */
int pc_decode_token(struct pc_decoder *d, struct pc_token *t);

/* The value that starts with a token which has been read. */
PyObject *pc_decode_rest(struct pc_decoder *d, const struct pc_token *t);

/* The key of a map: lists and maps in it are frozen, and most are short strings that were here before. */
PyObject *pc_decode_key(struct pc_decoder *d);

/* What is wrong with a key or an element, `what` it is: the path of the error leads to the map or the set. */
void pc_decode_key_failed(struct pc_decoder *d, const char *what);

/* decode_ext.c: the value of an extension. */
PyObject *pc_decode_ext(struct pc_decoder *d, const struct pc_token *t, bool frozen);

/* One container deeper, and back. */
int pc_decode_enter(struct pc_decoder *d);
static inline void pc_decode_leave(struct pc_decoder *d) { d->depth_left++; }

/* Sets a DecodeError (MemoryError for PC_NO_MEMORY). */
void pc_decode_fail(enum pc_status status);

#endif
