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
    LOCAL_LEVELS = 16,
    SLOT_BITS = 5,
    SLOTS = 1 << SLOT_BITS,
    MOST_KNOWN_BYTES = 64,
    MOST_ATOM_BYTES = 4 * 255,
    FLOAT64_HEAD = 0xcb,
    FLOAT64_BYTES = 9, /* with the head */
    /* What costs more than a unit, in units. */
    NEW_ATOM_COST = 15, /* an atom that is not known yet, at worst through the external term format */
    SHARED_BYTES = 256, /* from here on a binary becomes a part of the input, if that is one */
};

/* A map's key or an atom that was met before: both repeat, and one term can serve all. */
struct known {
    uint64_t word; /* its first bytes */
    const uint8_t *data;
    uint32_t n;
    enum pc_type type;
    ERL_NIF_TERM term;
};

/* An open container. Its elements have places on the stack of terms, a map's keys first and then its values. */
struct level {
    size_t base;
    uint32_t n;  /* elements, or pairs */
    uint32_t at; /* those that are there */
    bool is_map;
    bool has_key; /* a map's: the key of the next pair is there, too */
};

struct decoder {
    ErlNifEnv *env;
    struct pc_reader *r;
    struct pc_reader whole; /* as it was in the beginning */
    const struct pc_term_opts *opts;
    struct pc_term_error *err;
    struct pc_budget *budget; /* or NULL */
    int64_t units;            /* of it, those that are left */
    uint64_t owed;            /* values that are still to come in this reader */
    ERL_NIF_TERM *terms;
    size_t top;
    size_t cap;
    struct level *levels;
    unsigned depth;
    unsigned max_depth;
    unsigned levels_cap;
    uint32_t known_used; /* one bit for each slot */
    struct known known[SLOTS];
    struct level local_levels[LOCAL_LEVELS];
    ERL_NIF_TERM local[LOCAL_TERMS];
};

/* term_decoder.c: beginning and end. reserve: room for one more container with so many terms; false when out of memory. */
void pc_term_decoder_init(struct decoder *d, ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                          struct pc_budget *budget, struct pc_term_error *err);
void pc_term_decoder_destroy(struct decoder *d);
bool pc_term_decoder_reserve(struct decoder *d, size_t terms);

/*
 * Between two schedulers: the terms that wait, close together, and the levels behind the count of what is owed. False when out of
 * memory. After a save there is only destroy.
 */
bool pc_term_decoder_save(struct decoder *d, struct pc_term_pause *pause);
bool pc_term_decoder_restore(struct decoder *d, const struct pc_term_pause *pause);

/*
 * term_decode.c. open: a container of n elements or pairs, whose head the caller has read, on top of the others. fill: reads until
 * the container on top has all it waits for; its elements are then on the stack of terms, from its base on. After a
 * failure it is gone.
 */
enum pc_status pc_term_open(struct decoder *d, uint32_t n, bool is_map);
enum pc_status pc_term_fill(struct decoder *d);

/*
 * term_decode_floats.c: the array of n elements whose head was read, if it is one of finite floats and nothing else; the
 * caller has seen that the first is, and that the input is long enough. Otherwise not *done, and nothing is read. After
 * PC_BUDGET it is the caller who puts the reader back.
 */
enum pc_status pc_term_decode_floats(struct decoder *d, uint32_t n, bool *done, ERL_NIF_TERM *term);

/* term_decode_ext.c: an extension other than an atom. */
enum pc_status pc_term_decode_ext(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term);

static inline enum pc_status failed(struct decoder *d, enum pc_status status) {
    return pc_term_fail(d->env, d->err, status, "%s", pc_status_text(status));
}

/* term_decoder.c: the units are used up; false if it is time to go. */
bool pc_term_decode_extend(struct decoder *d);

static inline bool is_time_up(struct decoder *d) {
    return __builtin_expect(d->units < 0, 0) && !pc_term_decode_extend(d);
}

/* Whether extensions of this type are kept as they are. */
static inline bool is_raw(const struct decoder *d, int8_t type) {
    return d->opts->raw != NULL && (d->opts->raw[(uint8_t)type / 8] >> ((uint8_t)type % 8) & 1) != 0;
}

/* The container on top, which is full, has been made. */
static inline void close_top(struct decoder *d) { d->top = d->levels[--d->depth].base; }

/* Bytes of the input as a binary. */
static inline enum pc_status decode_binary(struct decoder *d, const uint8_t *data, uint32_t n, ERL_NIF_TERM *term) {
    if (n >= SHARED_BYTES && d->opts->origin != NULL && n >= d->opts->share_least) {
        *term = enif_make_sub_binary(d->env, d->opts->source, (size_t)(data - d->opts->origin), n);
        return PC_OK;
    }
    d->units -= n / PC_COPIED_PER_UNIT;
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
    return pc_term_make_binary(d->env, data, n, term) ? PC_OK : failed(d, PC_NO_MEMORY);
}

static inline enum pc_status decode_str(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= t->len / PC_CHECKED_PER_UNIT;
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
    if (!pc_utf8_valid(t->data, t->len)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a str that is not valid UTF-8");
    }
    return decode_binary(d, t->data, t->len, term);
}

static inline enum pc_status decode_key_str(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (d->opts->existing_keys && t->len <= MOST_ATOM_BYTES && pc_utf8_valid(t->data, t->len)) {
        d->units -= NEW_ATOM_COST;
        if (pc_term_find_atom(d->env, t->data, t->len, term)) {
            return PC_OK;
        }
    }
    return decode_str(d, t, term);
}

static inline enum pc_status decode_atom(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= NEW_ATOM_COST + t->len / PC_CHECKED_PER_UNIT;
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
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

/* The first eight bytes of a text, or as many as it has, in the order of memory; `end` is that of the input. */
static inline uint64_t first_word(const uint8_t *data, size_t n, const uint8_t *end) {
    uint64_t word = 0;
    if (n >= sizeof word) {
        memcpy(&word, data, sizeof word);
    } else if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && end - data >= (ptrdiff_t)sizeof word) {
        memcpy(&word, data, sizeof word);
        word &= (UINT64_C(1) << (8 * n)) - 1;
    } else {
        memcpy(&word, data, n);
    }
    return word;
}

/* Where a str or an atom is known that begins with this word, if it is. */
static inline struct known *known_place(struct decoder *d, const struct pc_token *t, uint64_t word) {
    uint64_t hash = (word + t->len) * UINT64_C(0x9e3779b97f4a7c15);
    return &d->known[hash >> (64 - SLOT_BITS)];
}

static inline bool is_known(const struct decoder *d, const struct known *known, const struct pc_token *t,
                            uint64_t word) {
    const size_t w = sizeof word;
    return (d->known_used >> (known - d->known) & 1) != 0 && known->word == word && known->n == t->len &&
           known->type == t->type && (t->len <= w || memcmp(known->data + w, t->data + w, t->len - w) == 0);
}

/* term_decode.c: one that is not known is now, if it is short. */
enum pc_status pc_term_learn(struct decoder *d, const struct pc_token *t, struct known *known, uint64_t word,
                             ERL_NIF_TERM *term);

/* A str or an atom that is likely to come again. */
static inline enum pc_status decode_repeated(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    uint64_t word = first_word(t->data, t->len, d->r->end);
    struct known *known = known_place(d, t, word);
    if (__builtin_expect(is_known(d, known, t, word), 1)) {
        *term = known->term;
        return PC_OK;
    }
    return pc_term_learn(d, t, known, word, term);
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
