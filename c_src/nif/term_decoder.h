#ifndef PC_NIF_TERM_DECODER_H
#define PC_NIF_TERM_DECODER_H

/*
 * The state of one decoding, its stack of terms, and its leaves: text, atoms, floats. Inline and private to term_decode*.c,
 * which have the containers.
 */

#include <math.h>
#include <string.h>

#include "atoms.h"
#include "term_private.h"

enum {
    LOCAL_TERMS = 128,
    SLOTS = 32,
    MOST_KNOWN_BYTES = 64,
    /* What costs more than a unit, in units. */
    NEW_ATOM_COST = 15, /* an atom that is not known yet, at worst through the external term format */
    BYTES_PER_UNIT = 32,
    SHARED_BYTES = 256, /* from here on a binary becomes a part of the input, if that is one */
};

/* A map's key or an atom that was met before: both repeat, and one term can serve all. */
struct known {
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
    int64_t units;
    unsigned depth;
    unsigned max_depth;
    uint64_t owed; /* elements that open containers still wait for in this reader */
    ERL_NIF_TERM *terms;
    size_t top;
    size_t cap;
    uint32_t known_used; /* one bit for each slot */
    struct known known[SLOTS];
    ERL_NIF_TERM local[LOCAL_TERMS];
};

/* term_decode.c: the next value; the next n values, into the reserved places from `base` on. */
enum pc_status pc_term_decode_value(struct decoder *d, ERL_NIF_TERM *term);
enum pc_status pc_term_decode_elements(struct decoder *d, size_t base, size_t n);

/* term_decode_ext.c: an extension other than an atom. */
enum pc_status pc_term_decode_ext(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term);

static inline enum pc_status failed(struct decoder *d, enum pc_status status) {
    return pc_term_fail(d->env, d->err, status, "%s", pc_status_text(status));
}

/* PC_BUDGET is no error, only a change of place: it needs no path. */
static inline enum pc_status unwind(struct decoder *d, enum pc_status status, ERL_NIF_TERM step) {
    return status == PC_BUDGET ? status : pc_term_unwind(d->env, d->err, step);
}

/* Reserves m places on the stack for a container; *base is the first. */
static inline enum pc_status open_container(struct decoder *d, uint64_t m, size_t *base) {
    *base = d->top;
    if (d->depth == d->max_depth) {
        return pc_term_fail(d->env, d->err, PC_TOO_DEEP, "nested more than %u levels deep", d->max_depth);
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
    d->top = need;
    d->owed += m;
    d->depth++;
    return PC_OK;
}

/* Whether extensions of this type are kept as they are. */
static inline bool is_raw(const struct decoder *d, int8_t type) {
    return d->opts->raw != NULL && (d->opts->raw[(uint8_t)type / 8] >> ((uint8_t)type % 8) & 1) != 0;
}

static inline void close_container(struct decoder *d, size_t base) {
    d->top = base;
    d->depth--;
}

/* Bytes of the input as a binary. */
static inline enum pc_status decode_binary(struct decoder *d, const uint8_t *data, uint32_t n, ERL_NIF_TERM *term) {
    if (n >= SHARED_BYTES && d->opts->origin != NULL) {
        *term = enif_make_sub_binary(d->env, d->opts->source, (size_t)(data - d->opts->origin), n);
        return PC_OK;
    }
    return pc_term_make_binary(d->env, data, n, term) ? PC_OK : failed(d, PC_NO_MEMORY);
}

static inline enum pc_status decode_str(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (!pc_utf8_valid(t->data, t->len)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a str that is not valid UTF-8");
    }
    return decode_binary(d, t->data, t->len, term);
}

static inline enum pc_status decode_key_str(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (d->opts->existing_keys && pc_utf8_valid(t->data, t->len)) {
        d->units -= NEW_ATOM_COST;
        if (pc_term_find_atom(d->env, t->data, t->len, term)) {
            return PC_OK;
        }
    }
    return decode_str(d, t, term);
}

static inline enum pc_status decode_atom(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= NEW_ATOM_COST;
    if (!pc_utf8_valid(t->data, t->len)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "an atom whose text is not valid UTF-8");
    }
    if (d->opts->atoms != PC_ATOMS_STRING && pc_term_find_atom(d->env, t->data, t->len, term)) {
        return PC_OK;
    }
    if (d->opts->atoms == PC_ATOMS_EXISTING) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "an atom that does not exist");
    }
    return decode_binary(d, t->data, t->len, term);
}

static inline size_t slot_of(const struct pc_token *t) {
    uint32_t hash = t->len;
    if (t->len > 0) {
        hash += t->data[0] + UINT32_C(7) * t->data[t->len / 2] + UINT32_C(13) * t->data[t->len - 1];
    }
    return hash % SLOTS;
}

/* memcmp, without the call for the short texts that keys mostly are. */
static inline bool is_same(const uint8_t *a, const uint8_t *b, size_t n) {
    if (n > 16) {
        return memcmp(a, b, n) == 0;
    }
    if (n >= 8) {
        return memcmp(a, b, 8) == 0 && memcmp(a + n - 8, b + n - 8, 8) == 0;
    }
    size_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i == n;
}

/* A str or an atom that is likely to come again. */
static inline enum pc_status decode_repeated(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    size_t slot = slot_of(t);
    struct known *known = &d->known[slot];
    if ((d->known_used >> slot & 1) != 0 && known->n == t->len && known->type == t->type &&
        is_same(known->data, t->data, t->len)) {
        *term = known->term;
        return PC_OK;
    }
    enum pc_status status = t->type == PC_STR ? decode_key_str(d, t, term) : decode_atom(d, t, term);
    if (status == PC_OK && t->len <= MOST_KNOWN_BYTES) {
        *known = (struct known){.data = t->data, .n = t->len, .type = t->type, .term = *term};
        d->known_used |= UINT32_C(1) << slot;
    }
    return status;
}

static inline enum pc_status decode_float(struct decoder *d, double value, ERL_NIF_TERM *term) {
    if (__builtin_expect(isfinite(value), 1)) {
        *term = enif_make_double(d->env, value);
    } else if (d->opts->finite) {
        return pc_term_fail(d->env, d->err, PC_INVALID,
                            "a float that is not finite (the option floats: atoms admits it)");
    } else if (isnan(value)) {
        *term = am_nan;
    } else {
        *term = value > 0 ? am_infinity : am_neg_infinity;
    }
    return PC_OK;
}

#endif
