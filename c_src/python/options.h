#ifndef PC_PYTHON_OPTIONS_H
#define PC_PYTHON_OPTIONS_H

/* Keyword arguments of packb, unpackb and Unpacker. What is in a struct is borrowed from the arguments. */

#include "decode.h"
#include "encode.h"

struct pc_pack_opts {
    struct pc_encode_opts encode;
    size_t max_size;
};

struct pc_unpack_opts {
    struct pc_decode_opts decode;
    unsigned max_depth;
    size_t max_size;
};

/* `values` are those of the names in kwnames (tuple or NULL). TypeError for a name that is none, ValueError and TypeError for values. */
int pc_options_pack(struct pc_pack_opts *opts, PyObject *const *values, PyObject *kwnames);
int pc_options_unpack(struct pc_unpack_opts *opts, PyObject *const *values, PyObject *kwnames, const char *function,
                      size_t max_size);

#endif
