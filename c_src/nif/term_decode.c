/*
 * MessagePack to terms: a recursive walk over the reader's tokens.
 *
 * Elements wait on one stack of terms, shared by all containers, until their container is made. Invariants: at most
 * PC_MAX_DEPTH containers are open; the places that open containers have reserved are never more than the bytes that are
 * left to fill them (`owed`), so a count on the wire takes memory only in proportion to the input.
 */

#include <math.h>
#include <string.h>

#include "atoms.h"
#include "codec/ext.h"
#include "term_private.h"

enum {
    LOCAL_TERMS = 128,
    KEY_SLOTS = 32,
    MOST_KEY_BYTES = 64,
    MOST_ARITY = (1 << 24) - 1,
};

/* A key that was met before: maps in a list repeat theirs, and one term can serve all. */
struct known_key {
    const uint8_t *data;
    uint32_t n;
    enum pc_type type;
    ERL_NIF_TERM term;
};

struct decoder {
    ErlNifEnv *env;
    struct pc_reader *r;
    const struct pc_term_opts *opts;
    struct pc_term_error *err;
    unsigned depth;
    uint64_t owed; /* elements that open containers still wait for in this reader */
    ERL_NIF_TERM *terms;
    size_t top;
    size_t cap;
    uint32_t keys_used; /* one bit for each slot */
    struct known_key keys[KEY_SLOTS];
    ERL_NIF_TERM local[LOCAL_TERMS];
};

static enum pc_status decode_value(struct decoder *d, ERL_NIF_TERM *term);

static enum pc_status failed(struct decoder *d, enum pc_status status) {
    return pc_term_fail(d->env, d->err, status, "%s", pc_status_text(status));
}

/* Reserves m places on the stack for a container; *base is the first. */
static enum pc_status open_container(struct decoder *d, uint64_t m, size_t *base) {
    if (d->depth == PC_MAX_DEPTH) {
        return pc_term_fail(d->env, d->err, PC_TOO_DEEP, "nested more than %d levels deep", PC_MAX_DEPTH);
    }
    if (m + d->owed > pc_reader_left(d->r)) {
        return failed(d, PC_TRUNCATED);
    }
    size_t need = d->top + (size_t)m;
    if (need > d->cap) {
        size_t cap = need > 2 * d->cap ? need : 2 * d->cap;
        ERL_NIF_TERM *terms = enif_alloc(cap * sizeof *terms);
        if (terms == NULL) {
            return failed(d, PC_NO_MEMORY);
        }
        memcpy(terms, d->terms, d->top * sizeof *terms);
        if (d->terms != d->local) {
            enif_free(d->terms);
        }
        d->terms = terms;
        d->cap = cap;
    }
    *base = d->top;
    d->top = need;
    d->owed += m;
    d->depth++;
    return PC_OK;
}

static void close_container(struct decoder *d, size_t base) {
    d->top = base;
    d->depth--;
}

bool pc_term_make_binary(ErlNifEnv *env, const void *bytes, size_t n, ERL_NIF_TERM *term) {
    unsigned char *place = enif_make_new_binary(env, n, term);
    if (place == NULL) {
        return false;
    }
    memcpy(place, bytes, n);
    return true;
}

static enum pc_status decode_str(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (!pc_utf8_valid(t->data, t->len)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a str that is not valid UTF-8");
    }
    return pc_term_make_binary(d->env, t->data, t->len, term) ? PC_OK : failed(d, PC_NO_MEMORY);
}

static enum pc_status decode_atom(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (!pc_term_read_atom(d->env, t->data, t->len, term)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "an atom whose text is not valid UTF-8");
    }
    return PC_OK;
}

static ERL_NIF_TERM make_float(struct decoder *d, double value) {
    if (__builtin_expect(isfinite(value), 1)) {
        return enif_make_double(d->env, value);
    }
    if (isnan(value)) {
        return am_nan;
    }
    return value > 0 ? am_infinity : am_neg_infinity;
}

/* Fills m reserved places; on failure *index is where. */
static enum pc_status decode_elements(struct decoder *d, size_t base, size_t m) {
    for (size_t i = 0; i < m; i++) {
        ERL_NIF_TERM term;
        d->owed--;
        enum pc_status status = decode_value(d, &term);
        if (status != PC_OK) {
            return pc_term_unwind(d->env, d->err, enif_make_uint64(d->env, i));
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
        return pc_term_fail(d->env, d->err, PC_INVALID, "a tuple whose payload is not an array of at most %d elements", MOST_ARITY);
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
        return decode_atom(d, t, term);
    case PC_EXT_BIGINT:
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

static bool is_text(const struct pc_token *t) { return t->type == PC_STR || (t->type == PC_EXT && t->ext == PC_EXT_ATOM); }

static size_t key_slot(const struct pc_token *t) {
    uint32_t hash = t->len;
    if (t->len > 0) {
        hash += t->data[0] + UINT32_C(7) * t->data[t->len / 2] + UINT32_C(13) * t->data[t->len - 1];
    }
    return hash % KEY_SLOTS;
}

static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term);

static enum pc_status decode_key(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (!is_text(&t) || t.len > MOST_KEY_BYTES) {
        return decode_token(d, &t, term);
    }
    size_t slot = key_slot(&t);
    struct known_key *known = &d->keys[slot];
    uint32_t bit = UINT32_C(1) << slot;
    if ((d->keys_used & bit) != 0 && known->n == t.len && known->type == t.type && memcmp(known->data, t.data, t.len) == 0) {
        *term = known->term;
        return PC_OK;
    }
    status = decode_token(d, &t, term);
    if (status == PC_OK) {
        *known = (struct known_key){.data = t.data, .n = t.len, .type = t.type, .term = *term};
        d->keys_used |= bit;
    }
    return status;
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
            return pc_term_unwind(d->env, d->err, key);
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
    if (!pc_term_make_map(d->env, d->terms + base, d->terms + base + n, n, term)) {
        return failed(d, PC_NO_MEMORY);
    }
    close_container(d, base);
    return PC_OK;
}

static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
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
        return decode_str(d, t, term);
    case PC_BIN:
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

static enum pc_status decode_value(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    return status == PC_OK ? decode_token(d, &t, term) : failed(d, status);
}

enum pc_status pc_term_decode(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts, ERL_NIF_TERM *term,
                              struct pc_term_error *err) {
    struct decoder d;
    d.env = env;
    d.r = r;
    d.opts = opts;
    d.err = err;
    d.depth = 0;
    d.owed = 0;
    d.terms = d.local;
    d.top = 0;
    d.cap = LOCAL_TERMS;
    d.keys_used = 0;
    enum pc_status status = decode_value(&d, term);
    if (d.terms != d.local) {
        enif_free(d.terms);
    }
    return status;
}
