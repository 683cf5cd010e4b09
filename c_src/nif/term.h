#ifndef PC_NIF_TERM_H
#define PC_NIF_TERM_H

/*
 * Erlang terms to and from MessagePack (docs/protocol.md, Extension types). Any scheduler; takes no lock;
 * creates no atom from input. Nothing here knows frames or sockets.
 */

#include <erl_nif.h>
#include <stdbool.h>

#include "codec/reader.h"
#include "codec/writer.h"

struct pc_term_opts {
    bool binaries_as_bytes; /* write a binary as bin instead of str */
    ERL_NIF_TERM nil;       /* the atom that stands for nil */
};

/* Where and why encoding or decoding stopped. `path` is a list, outermost first, in the env of the call. */
struct pc_term_error {
    enum pc_status status;
    char message[256];
    ERL_NIF_TERM path;
};

/* Reads codec_opts() of pitcrew_nif.erl; false if it is not a map or has a value that is not allowed. Unknown keys are refused too. */
bool pc_term_opts_read(ErlNifEnv *env, ERL_NIF_TERM map, struct pc_term_opts *opts);

/*
 * Appends a term to w. `budget` counts work down (about one unit a term or 32 bytes); when it falls below zero the result is
 * PC_BUDGET and the caller starts over elsewhere; NULL means no bound. On failure *err says where and what to do about it.
 */
enum pc_status pc_term_encode(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term, const struct pc_term_opts *opts,
                              int64_t *budget, struct pc_term_error *err);

/* Reads one value. Duplicate map keys: the last wins. Small str/bin are copied into the heap of env. */
enum pc_status pc_term_decode(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts, ERL_NIF_TERM *term,
                              struct pc_term_error *err);

/* The same within a budget, as pc_term_encode has it: PC_BUDGET when it runs out, and the reader is somewhere inside the value. */
enum pc_status pc_term_decode_within(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                                     int64_t *budget, ERL_NIF_TERM *term, struct pc_term_error *err);

/* codec_error() of pitcrew_nif.erl; `kind` is encode_error or decode_error (PC_TOO_BIG always becomes too_big). */
ERL_NIF_TERM pc_term_error_make(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err);

#endif
