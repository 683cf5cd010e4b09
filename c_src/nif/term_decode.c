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
    MOST_ARITY = (1 << 24) - 1,
    BIGINT_COST = 10, /* in units */
    LARGE_MAP = 32,   /* above it a map is a hash tree */
    PAIR_COST = 3,    /* for each pair of a large map */
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

/* Fills m reserved places. */
static enum pc_status decode_elements(struct decoder *d, size_t base, size_t m) {
    for (size_t i = 0; i < m; i++) {
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

static enum pc_status decode_tuple_elements(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    size_t base;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type != PC_ARRAY || t.len > MOST_ARITY) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a tuple whose payload is not an array of at most %d elements",
                            MOST_ARITY);
    }
    status = open_container(d, t.len, &base);
    if (status == PC_OK) {
        status = decode_elements(d, base, t.len);
    }
    if (status != PC_OK) {
        return status;
    }
    *term = enif_make_tuple_from_array(d->env, d->terms + base, t.len);
    close_container(d, base);
    if (pc_reader_left(d->r) != 0) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a tuple with bytes after its array");
    }
    return PC_OK;
}

/* A tuple's payload is read by a reader of its own, so nothing in it can reach past its end. */
static enum pc_status decode_tuple(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (d->owed > pc_reader_left(d->r)) {
        return failed(d, PC_TRUNCATED);
    }
    struct pc_reader inner;
    struct pc_reader *outer = d->r;
    uint64_t owed = d->owed;
    pc_reader_init(&inner, t->data, t->len);
    d->r = &inner;
    d->owed = 0;
    enum pc_status status = decode_tuple_elements(d, term);
    d->r = outer;
    d->owed = owed;
    return status;
}

static enum pc_status decode_ext(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    switch (t->ext) {
    case PC_EXT_ATOM:
        return decode_repeated(d, t, term);
    case PC_EXT_BIGINT:
        d->units -= BIGINT_COST + t->len / BYTES_PER_UNIT;
        if (!pc_term_read_bigint(d->env, t->data, t->len, term)) {
            return pc_term_fail(d->env, d->err, PC_INVALID, "a big integer that is not well formed, or too large");
        }
        return PC_OK;
    case PC_EXT_TUPLE:
        return decode_tuple(d, t, term);
    default:
        return pc_term_fail(d->env, d->err, PC_INVALID, "an extension of the unknown type %d", t->ext);
    }
}

static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term);

static enum pc_status decode_key(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type == PC_STR && t.len <= MOST_KNOWN_BYTES) {
        return decode_repeated(d, &t, term);
    }
    return decode_token(d, &t, term);
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
        *term = make_float(d, t->f);
        return PC_OK;
    case PC_STR:
        d->units -= t->len / BYTES_PER_UNIT;
        return decode_str(d, t, term);
    case PC_BIN:
        d->units -= t->len / BYTES_PER_UNIT;
        return pc_term_make_binary(d->env, t->data, t->len, term) ? PC_OK : failed(d, PC_NO_MEMORY);
    case PC_ARRAY:
        return decode_list(d, t->len, term);
    case PC_MAP:
        return decode_map(d, t->len, term);
    case PC_EXT:
        return decode_ext(d, t, term);
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

enum pc_status pc_term_decode_within(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                                     int64_t *budget, ERL_NIF_TERM *term, struct pc_term_error *err) {
    struct decoder d;
    d.env = env;
    d.r = r;
    d.opts = opts;
    d.err = err;
    d.units = budget != NULL ? *budget : INT64_MAX;
    d.depth = 0;
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
