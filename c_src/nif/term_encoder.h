#ifndef PC_NIF_TERM_ENCODER_H
#define PC_NIF_TERM_ENCODER_H

/*
 * The state of one encoding and its leaves: atoms, numbers, binaries. Inline and private to term_encode.c, which has the
 * containers: a call for each leaf would cost as much as the leaf.
 */

#include <math.h>
#include <string.h>

#include "atoms.h"
#include "term_private.h"

enum {
    SLOT_BITS = 5,
    SLOTS = 1 << SLOT_BITS,
    BYTES_PER_UNIT = 32,
};

/*
 * Where the bytes of an atom or a map's key already stand in the output. Both repeat, and terms that are the same word are the
 * same term: nothing is collected while a native function runs.
 */
struct place {
    ERL_NIF_TERM term;
    size_t at;
    size_t n;
};

struct encoder {
    ErlNifEnv *env;
    struct pc_writer *w;
    const struct pc_term_opts *opts;
    struct pc_term_error *err;
    int64_t units;
    unsigned depth;
    uint32_t places_used; /* one bit for each slot */
    struct place places[SLOTS];
};

static inline enum pc_status unsupported(struct encoder *e, const char *what) {
    return pc_term_fail(e->env, e->err, PC_INVALID, "%s cannot be encoded", what);
}

static inline enum pc_status no_memory(struct encoder *e) {
    return pc_term_fail(e->env, e->err, PC_NO_MEMORY, "%s", pc_status_text(PC_NO_MEMORY));
}

/* PC_BUDGET is no error, only a change of place: it needs no path. */
static inline enum pc_status unwind(struct encoder *e, enum pc_status status, ERL_NIF_TERM step) {
    return status == PC_BUDGET ? status : pc_term_unwind(e->env, e->err, step);
}

static inline enum pc_status enter(struct encoder *e) {
    if (e->depth == PC_MAX_DEPTH) {
        return pc_term_fail(e->env, e->err, PC_TOO_DEEP, "nested more than %d levels deep", PC_MAX_DEPTH);
    }
    e->depth++;
    return PC_OK;
}

/* Every way out of a leaf: the writer's error, if it has one, becomes ours. */
static inline enum pc_status written(struct encoder *e) {
    if (__builtin_expect(e->w->status == PC_OK, 1)) {
        return PC_OK;
    }
    if (e->w->status == PC_TOO_BIG) {
        return pc_term_fail(e->env, e->err, PC_TOO_BIG, "larger than the limit of %zu bytes", e->w->max);
    }
    return no_memory(e);
}

static inline size_t slot_of(ERL_NIF_TERM term) {
    return (size_t)((uint64_t)term * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS));
}

/* Writes a term again if it is known; the writer's status is for the caller to look at. */
static inline bool repeat(struct encoder *e, ERL_NIF_TERM term, size_t slot) {
    const struct place *place = &e->places[slot];
    if ((e->places_used >> slot & 1) == 0 || place->term != term) {
        return false;
    }
    pc_writer_repeat(e->w, place->at, place->n);
    return true;
}

/* Everything since `at` is this term. */
static inline void remember(struct encoder *e, ERL_NIF_TERM term, size_t slot, size_t at) {
    e->places[slot] = (struct place){.term = term, .at = at, .n = e->w->len - at};
    e->places_used |= UINT32_C(1) << slot;
}

static inline enum pc_status encode_text_atom(struct encoder *e, ERL_NIF_TERM atom) {
    size_t slot = slot_of(atom);
    size_t at = e->w->len;
    if (!repeat(e, atom, slot)) {
        if (!pc_term_write_atom(e->env, e->w, atom)) {
            return no_memory(e);
        }
        remember(e, atom, slot, at);
    }
    return written(e);
}

static inline enum pc_status encode_atom(struct encoder *e, ERL_NIF_TERM atom) {
    if (atom == e->opts->nil) {
        pc_write_nil(e->w);
    } else if (atom == am_true || atom == am_false) {
        pc_write_bool(e->w, atom == am_true);
    } else if (atom == am_nan) {
        pc_write_double(e->w, (double)NAN);
    } else if (atom == am_infinity) {
        pc_write_double(e->w, (double)INFINITY);
    } else if (atom == am_neg_infinity) {
        pc_write_double(e->w, -(double)INFINITY);
    } else {
        return encode_text_atom(e, atom);
    }
    return written(e);
}

static inline enum pc_status encode_integer(struct encoder *e, ERL_NIF_TERM term) {
    ErlNifSInt64 i;
    ErlNifUInt64 u;
    if (enif_get_int64(e->env, term, &i)) {
        pc_write_int(e->w, i);
    } else if (enif_get_uint64(e->env, term, &u)) {
        pc_write_uint(e->w, u);
    } else {
        size_t before = e->w->len;
        if (!pc_term_write_bigint(e->env, e->w, term)) {
            return no_memory(e);
        }
        e->units -= (int64_t)((e->w->len - before) / BYTES_PER_UNIT);
    }
    return written(e);
}

static inline enum pc_status encode_float(struct encoder *e, ERL_NIF_TERM term) {
    double value;
    (void)enif_get_double(e->env, term, &value);
    pc_write_double(e->w, value);
    return written(e);
}

static inline enum pc_status encode_bytes(struct encoder *e, const ErlNifBinary *bin, bool as_bytes) {
    e->units -= (int64_t)(bin->size / BYTES_PER_UNIT);
    if (e->units < 0) {
        return PC_BUDGET;
    }
    if (as_bytes) {
        pc_write_bin_header(e->w, bin->size);
    } else if (pc_utf8_valid(bin->data, bin->size)) {
        pc_write_str_header(e->w, bin->size);
    } else {
        return pc_term_fail(
            e->env, e->err, PC_INVALID,
            "a binary that is not valid UTF-8; wrap it with Pitcrew.bytes/1 (pitcrew:bytes/1 in Erlang) "
            "or use the option binaries: bytes");
    }
    pc_writer_append(e->w, bin->data, bin->size);
    return written(e);
}

static inline enum pc_status encode_binary(struct encoder *e, ERL_NIF_TERM term, bool as_bytes) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(e->env, term, &bin)) {
        return unsupported(e, "a bitstring that is no binary");
    }
    return encode_bytes(e, &bin, as_bytes);
}

#endif
