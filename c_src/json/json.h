#ifndef PC_JSON_JSON_H
#define PC_JSON_JSON_H

/*
 * Terms to JSON and back: pc_json_build and pc_json_dump, pc_json_load and pc_json_read. jansson writes and reads
 * the text; a json_t tree lies between, lives in malloc's memory and never longer than one call of a native function.
 * Any scheduler; no lock but malloc's; creates no atom. docs/json.md says what becomes what.
 */

#include <erl_nif.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/limits.h"

/* Where and why a conversion stopped. `path` is a list, outermost first, in the env of the call. */
struct pc_json_error {
    enum pc_status status;
    char message[320];
    ERL_NIF_TERM path;
    int line; /* of the text, from 1; 0 when the error is not about text. Then column and position say nothing. */
    int column;
    int position; /* bytes that were read */
};

/* What JSON's null is in Erlang: am_nil, am_undefined or am_null. */
struct pc_json_opts {
    ERL_NIF_TERM nil;
};

/*
 * A tree for the term; *value is a new reference. `budget` counts estimated nanoseconds down, for building, dumping and
 * freeing; when it falls below zero the result is PC_BUDGET and the caller starts over elsewhere. NULL means no bound.
 */
enum pc_status pc_json_build(ErlNifEnv *env, ERL_NIF_TERM term, const struct pc_json_opts *opts, int64_t *budget,
                             json_t **value, struct pc_json_error *err);

/* The text of a tree, as it grows. pc_json_text_free if it is not made a term. */
struct pc_json_text {
    enum pc_status status;
    int64_t budget;      /* as in pc_json_build; INT64_MAX for none */
    unsigned char *data; /* `local`, or the bytes of `bin` */
    size_t len;
    size_t cap;
    bool in_bin;
    ErlNifBinary bin;
    unsigned char local[1024];
};

void pc_json_text_init(struct pc_json_text *text, int64_t budget);

/* `flags` are jansson's; those that this library needs are added. The tree stays the caller's. */
enum pc_status pc_json_dump(const json_t *value, size_t flags, struct pc_json_text *text);

/* The text as a binary; false when out of memory. */
bool pc_json_text_take(ErlNifEnv *env, struct pc_json_text *text, ERL_NIF_TERM *term);
void pc_json_text_free(struct pc_json_text *text);

struct pc_json_load_opts {
    bool refuse_duplicates;  /* of keys; else the last wins */
    bool widen_big_integers; /* integers beyond 64 bits become floats; else they are an error */
};

/* Parses text; *value is a new reference. Refuses what nests deeper than PC_MAX_DEPTH before jansson sees it. */
enum pc_status pc_json_load(ErlNifEnv *env, const char *text, size_t n, const struct pc_json_load_opts *opts,
                            json_t **value, struct pc_json_error *err);

/* The term for a tree, which is copied out of it. Fails only for lack of memory, or if the tree is too deep. */
enum pc_status pc_json_read(ErlNifEnv *env, json_t *value, const struct pc_json_opts *opts, ERL_NIF_TERM *term,
                            struct pc_json_error *err);

/* The map of an error, shaped like pitcrew_error:t(); `kind` is am_encode_error or am_decode_error. */
ERL_NIF_TERM pc_json_error_make(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_json_error *err);

#endif
