#ifndef PC_JSON_BUILDER_H
#define PC_JSON_BUILDER_H

/* The state of one building, and what json_build.c (containers) and json_leaf.c (the rest) share. */

#include "json_private.h"

/* What building, dumping and freeing take, in nanoseconds, rounded up a little. Measured. */
enum {
    WORD_COST = 50, /* null, true, false */
    INTEGER_COST = 120,
    FLOAT_COST = 420,
    FAR_FLOAT_COST = 1000, /* of an exponent so large or small that printing takes arithmetic on many digits */
    TEXT_COST = 100,
    BYTE_COST = 10,
    FAR_ATOM_COST = 150, /* on top of its text */
    CONTAINER_COST = 300,
};

struct builder {
    ErlNifEnv *env;
    const struct pc_json_opts *opts;
    struct pc_json_error *err;
    int64_t budget;
    unsigned depth;
};

static inline enum pc_status refuse(struct builder *b, const char *what) {
    return pc_json_fail(b->env, b->err, PC_INVALID, "%s", what);
}

/* PC_BUDGET is no error, only a change of place: it needs no path. */
static inline enum pc_status unwind(struct builder *b, enum pc_status status, ERL_NIF_TERM step) {
    return status == PC_BUDGET ? status : pc_json_unwind(b->env, b->err, step);
}

static inline enum pc_status no_memory(struct builder *b) {
    return pc_json_fail(b->env, b->err, PC_NO_MEMORY, "out of memory");
}

static inline enum pc_status pay(struct builder *b, int64_t cost) {
    b->budget -= cost;
    return b->budget < 0 ? PC_BUDGET : PC_OK;
}

/* Every way out of a leaf. */
static inline enum pc_status made(struct builder *b, const json_t *value) {
    return __builtin_expect(value != NULL, 1) ? PC_OK : no_memory(b);
}

/* Each sets *value to a new reference, or leaves it alone; on failure too. */
enum pc_status pc_json_build_integer(struct builder *b, ERL_NIF_TERM term, json_t **value);
enum pc_status pc_json_build_float(struct builder *b, ERL_NIF_TERM term, json_t **value);
enum pc_status pc_json_build_text(struct builder *b, ERL_NIF_TERM term, json_t **value);
enum pc_status pc_json_build_atom(struct builder *b, ERL_NIF_TERM atom, json_t **value);

/* The bytes of a binary that is text, borrowed from it; paid for. */
enum pc_status pc_json_get_text(struct builder *b, ERL_NIF_TERM term, ErlNifBinary *bin);

/* The text of an atom; paid for. */
enum pc_status pc_json_get_atom_text(struct builder *b, ERL_NIF_TERM atom, char text[PC_JSON_ATOM_BYTES], size_t *n);

#endif
