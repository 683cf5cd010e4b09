#ifndef PC_PYTHON_ENCODE_H
#define PC_PYTHON_ENCODE_H

/* Python objects to MessagePack (docs/protocol.md, Extension types). */

#include <stdbool.h>

#include "codec/writer.h"
#include "core.h"

struct pc_lent;
struct pc_refs_out;

/* What the public codec lets its caller choose. All zero but max_depth is what calls use. */
struct pc_encode_opts {
    bool plain;      /* only what MessagePack itself has: a tuple is an array, an Atom a str, other types are refused */
    bool keep_ext;   /* Ext is written as it is */
    bool bin_as_str; /* as MessagePack had it before it had bin */
    bool as_terms;   /* an Atom that is a value of Python's is that value: for comparing keys */
    bool datetime;   /* plain: a datetime with a time zone is a timestamp */
    struct pc_refs_out *refs; /* where references go (refs.h), or NULL: then there must be none */
    struct pc_lent *lent;     /* where large payloads go (lent.h), or NULL: into the output with the rest */
    PyObject *fallback;       /* callable for what has no form, or NULL; borrowed */
    const char *errors;       /* of str.encode; NULL is "strict" */
    unsigned max_depth;
};

/*
 * Appends one value to w. On failure an EncodeError whose message starts with `root` and the path, or whatever Python
 * raised; w then holds half a value, which the caller undoes. w->status is PC_TOO_BIG when the limit was the reason.
 * May run Python code (__index__, converters), so w must not be reachable from it.
 */
int pc_encode_with(struct pc_writer *w, PyObject *value, const struct pc_encode_opts *opts, const char *root);

/* As in calls. */
int pc_encode(struct pc_writer *w, PyObject *value, unsigned max_depth, const char *root);

#endif
