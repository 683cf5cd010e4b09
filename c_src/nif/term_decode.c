/*
 * MessagePack to terms: a recursive walk over the reader's tokens.
 *
 * Elements wait on one stack of terms, shared by all containers, until their container is made. Invariants: at most
 * PC_MAX_DEPTH containers are open; the places that open containers have reserved are never more than the bytes that are
 * left to fill them (`owed`), so a count on the wire takes memory only in proportion to the input.
 */

#include <string.h>

#include "atoms.h"
#include "codec/ext.h"
#include "term_decoder.h"

enum {
    LARGE_MAP = 32, /* above it a map is a hash tree */
    PAIR_COST = 3,  /* for each pair of a large map */
};

static inline enum pc_status decode_value(struct decoder *d, ERL_NIF_TERM *term);

bool pc_term_make_binary(ErlNifEnv *env, const void *bytes, size_t n, ERL_NIF_TERM *term) {
    unsigned char *place = enif_make_new_binary(env, n, term);
    if (place == NULL) {
        return false;
    }
    memcpy(place, bytes, n);
    return true;
}

static enum pc_status decode_elements(struct decoder *d, size_t base, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ERL_NIF_TERM term;
        d->owed--;
        enum pc_status status = decode_value(d, &term);
        if (status != PC_OK) {
            return unwind(d, status, enif_make_uint64(d->env, i));
        }
        d->terms[base + i] = term; /* only now: the stack may have moved */
    }
    return PC_OK;
}

static enum pc_status decode_list(struct decoder *d, uint32_t n, ERL_NIF_TERM *term) {
    size_t base;
    enum pc_status status = open_container(d, n, &base);
    if (status == PC_OK) {
        status = decode_elements(d, base, n);
    }
    if (status == PC_OK) {
        *term = enif_make_list_from_array(d->env, d->terms + base, n);
        close_container(d, base);
    }
    return status;
}

static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term);

static enum pc_status decode_key(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type != PC_STR) {
        return decode_token(d, &t, term);
    }
    if (t.len <= MOST_KNOWN_BYTES) {
        return decode_repeated(d, &t, term);
    }
    d->units -= t.len / BYTES_PER_UNIT;
    return d->units < 0 ? PC_BUDGET : decode_key_str(d, &t, term);
}

/* Keys stand in the first n of the reserved places, values in the others, as enif_make_map_from_arrays wants them. */
static enum pc_status decode_pairs(struct decoder *d, size_t base, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ERL_NIF_TERM key;
        ERL_NIF_TERM value;
        d->owed--;
        enum pc_status status = decode_key(d, &key);
        if (status != PC_OK) {
            return status; /* the path ends at the map: there is no key to name */
        }
        d->owed--;
        status = decode_value(d, &value);
        if (status != PC_OK) {
            return unwind(d, status, key);
        }
        d->terms[base + i] = key;
        d->terms[base + n + i] = value;
    }
    return PC_OK;
}

static enum pc_status decode_map(struct decoder *d, uint32_t n, ERL_NIF_TERM *term) {
    size_t base;
    enum pc_status status = open_container(d, 2 * (uint64_t)n, &base);
    if (status == PC_OK) {
        status = decode_pairs(d, base, n);
    }
    if (status != PC_OK) {
        return status;
    }
    if (n > LARGE_MAP) {
        d->units -= PAIR_COST * (int64_t)n;
        if (d->units < 0) {
            return PC_BUDGET;
        }
    }
    if (!pc_term_make_map(d->env, d->terms + base, d->terms + base + n, n, term)) {
        return failed(d, PC_NO_MEMORY);
    }
    close_container(d, base);
    return PC_OK;
}

static enum pc_status decode_bin(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    ERL_NIF_TERM data;
    d->units -= t->len / BYTES_PER_UNIT;
    if (!d->opts->tagged_bytes) {
        return decode_binary(d, t->data, t->len, term);
    }
    enum pc_status status = decode_binary(d, t->data, t->len, &data);
    if (status == PC_OK && !pc_struct_make(d->env, PC_STRUCT_BYTES, &data, term)) {
        status = failed(d, PC_NO_MEMORY);
    }
    return status;
}

static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (--d->units < 0) {
        return PC_BUDGET;
    }
    switch (t->type) {
    case PC_NIL:
        *term = d->opts->nil;
        return PC_OK;
    case PC_BOOL:
        *term = t->b ? am_true : am_false;
        return PC_OK;
    case PC_INT:
        *term = enif_make_int64(d->env, t->i);
        return PC_OK;
    case PC_UINT:
        *term = enif_make_uint64(d->env, t->u);
        return PC_OK;
    case PC_FLOAT:
        return decode_float(d, t->f, term);
    case PC_STR:
        d->units -= t->len / BYTES_PER_UNIT;
        return decode_str(d, t, term);
    case PC_BIN:
        return decode_bin(d, t, term);
    case PC_ARRAY:
        return decode_list(d, t->len, term);
    case PC_MAP:
        return decode_map(d, t->len, term);
    case PC_EXT:
        return t->ext == PC_EXT_ATOM && !is_raw(d, PC_EXT_ATOM) ? decode_repeated(d, t, term)
                                                                : pc_term_decode_ext(d, t, term);
    }
    return failed(d, PC_INVALID);
}

static inline enum pc_status decode_value(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type == PC_INT) {
        d->units--; /* too little work to ask whether any are left */
        *term = enif_make_int64(d->env, t.i);
        return PC_OK;
    }
    return decode_token(d, &t, term);
}

enum pc_status pc_term_decode_value(struct decoder *d, ERL_NIF_TERM *term) { return decode_value(d, term); }

enum pc_status pc_term_decode_elements(struct decoder *d, size_t base, size_t n) { return decode_elements(d, base, n); }

enum pc_status pc_term_decode_within(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                                     int64_t *budget, ERL_NIF_TERM *term, struct pc_term_error *err) {
    struct decoder d;
    d.env = env;
    d.r = r;
    d.opts = opts;
    d.err = err;
    d.units = budget != NULL ? *budget : INT64_MAX;
    d.depth = 0;
    d.max_depth = opts->max_depth != 0 ? opts->max_depth : PC_MAX_DEPTH;
    d.owed = 0;
    d.terms = d.local;
    d.top = 0;
    d.cap = LOCAL_TERMS;
    d.known_used = 0;
    enum pc_status status = decode_value(&d, term);
    if (d.terms != d.local) {
        enif_free(d.terms);
    }
    if (budget != NULL) {
        *budget = d.units;
    }
    return status;
}

enum pc_status pc_term_decode(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts, ERL_NIF_TERM *term,
                              struct pc_term_error *err) {
    return pc_term_decode_within(env, r, opts, NULL, term, err);
}
