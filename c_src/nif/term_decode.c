/*
 * MessagePack to terms: a loop over the reader's tokens, with the open containers on a stack of their own. Nothing here calls
 * itself but for extensions that hold values, so a deep term costs little, and a decoding can pause between any two values.
 *
 * Elements wait on one stack of terms, shared by all containers, until their container is made. Invariants: at most
 * PC_MAX_DEPTH containers are open; the places that open containers have reserved are never more than the bytes that are
 * left to fill them (`owed`), so a count on the wire takes memory only in proportion to the input. Where the result
 * is PC_BUDGET, nothing of the value that was next has been taken.
 */

#include <string.h>

#include "atoms.h"
#include "codec/ext.h"
#include "term_decoder.h"
#include "term_small.h"

enum {
    MANY_FLOATS = 32, /* from here on it pays to look for a list of nothing else */
    LARGE_MAP = 32,   /* above it a map is a hash tree */
    PAIR_COST = 2,    /* of any map */
    TREE_COST = 3,    /* more for each pair of a large map */
};

bool pc_term_make_binary(ErlNifEnv *env, const void *bytes, size_t n, ERL_NIF_TERM *term) {
    unsigned char *place = enif_make_new_binary(env, n, term);
    if (place == NULL) {
        return false;
    }
    memcpy(place, bytes, n);
    return true;
}

/* ---- Containers */

static inline enum pc_status open_container(struct decoder *d, uint32_t n, bool is_map) {
    uint64_t m = is_map ? 2 * (uint64_t)n : n;
    if (d->depth == d->max_depth) {
        return pc_term_fail(d->env, d->err, PC_TOO_DEEP, "nested more than %u levels deep", d->max_depth);
    }
    if (m + d->owed - 1 > pc_reader_left(d->r)) {
        return failed(d, PC_TRUNCATED);
    }
    if (__builtin_expect(d->top + m > d->cap || d->depth == d->levels_cap, 0) &&
        !pc_term_decoder_reserve(d, (size_t)m)) {
        return failed(d, PC_NO_MEMORY);
    }
    d->levels[d->depth++] = (struct level){.base = d->top, .n = n, .is_map = is_map};
    d->top += (size_t)m;
    d->owed += m - 1;
    return PC_OK;
}

enum pc_status pc_term_open(struct decoder *d, uint32_t n, bool is_map) { return open_container(d, n, is_map); }

/* The container on top, which is full, as a term. */
static enum pc_status make_top(struct decoder *d, ERL_NIF_TERM *term) {
    const struct level *l = &d->levels[d->depth - 1];
    ERL_NIF_TERM *terms = d->terms + l->base;
    if (!l->is_map) {
        *term = enif_make_list_from_array(d->env, terms, l->n);
    } else {
        d->units -= l->n > LARGE_MAP ? TREE_COST * (int64_t)l->n : 0;
        if (is_time_up(d)) {
            return PC_BUDGET;
        }
        if (!pc_term_make_map(d->env, terms, terms + l->n, l->n, term)) {
            return failed(d, PC_NO_MEMORY);
        }
    }
    close_top(d);
    return PC_OK;
}

/* ---- Values */

static enum pc_status decode_bin(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    ERL_NIF_TERM data;
    if (!d->opts->tagged_bytes) {
        return decode_binary(d, t->data, t->len, term);
    }
    enum pc_status status = decode_binary(d, t->data, t->len, &data);
    if (status == PC_OK && !pc_struct_make(d->env, PC_STRUCT_BYTES, &data, term)) {
        status = failed(d, PC_NO_MEMORY);
    }
    return status;
}

enum pc_status pc_term_learn(struct decoder *d, const struct pc_token *t, struct known *known, uint64_t word,
                             ERL_NIF_TERM *term) {
    enum pc_status status = t->type == PC_STR ? decode_key_str(d, t, term) : decode_atom(d, t, term);
    if (status == PC_OK && t->len <= MOST_KNOWN_BYTES) {
        *known = (struct known){.word = word, .data = t->data, .n = t->len, .type = t->type, .term = *term};
        d->known_used |= UINT32_C(1) << (known - d->known);
    }
    return status;
}

static enum pc_status decode_array(struct decoder *d, uint32_t n, ERL_NIF_TERM *term) {
    if (n >= MANY_FLOATS && pc_reader_left(d->r) >= FLOAT64_BYTES * (uint64_t)n && *d->r->p == FLOAT64_HEAD &&
        d->depth < d->max_depth) {
        bool done;
        enum pc_status status = pc_term_decode_floats(d, n, &done, term);
        if (status != PC_OK || done) {
            return status;
        }
    }
    return open_container(d, n, false);
}

/* What a token is: a term, or a container, which is on top then. */
static enum pc_status decode_token(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    switch (t->type) {
    case PC_NIL:
        *term = d->opts->nil;
        break;
    case PC_BOOL:
        *term = t->b ? am_true : am_false;
        break;
    case PC_INT:
        *term = pc_small_make(d->env, t->i);
        break;
    case PC_UINT:
        *term = enif_make_uint64(d->env, t->u);
        break;
    case PC_FLOAT:
        return decode_float(d, t->f, term);
    case PC_STR:
        return decode_str(d, t, term);
    case PC_BIN:
        return decode_bin(d, t, term);
    case PC_ARRAY:
        return decode_array(d, t->len, term);
    case PC_MAP:
        return pc_term_open(d, t->len, true);
    case PC_EXT:
        return t->ext == PC_EXT_ATOM && !is_raw(d, PC_EXT_ATOM) ? decode_repeated(d, t, term)
                                                                : pc_term_decode_ext(d, t, term);
    }
    return PC_OK;
}

/* Leaves the reader before the value that it has begun to read, when time was up. */
static inline enum pc_status taken(struct decoder *d, enum pc_status status, const uint8_t *start, unsigned depth) {
    if (status == PC_BUDGET) {
        d->r->p = start;
    } else if (d->depth == depth) {
        d->owed--;
    }
    return status;
}

/* The next value: a term, or another container on top. */
static inline enum pc_status next_value(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    int64_t i;
    if (pc_reader_take_int(d->r, &i)) {
        *term = pc_small_make(d->env, i);
        d->owed--;
        return PC_OK;
    }
    const uint8_t *start = d->r->p;
    if (pc_reader_take_short_str(d->r, &t)) {
        return taken(d, decode_str(d, &t, term), start, d->depth);
    }
    if (pc_reader_take_container(d->r, &t)) {
        return open_container(d, t.len, t.type == PC_MAP);
    }
    unsigned depth = d->depth;
    enum pc_status status = pc_reader_next_slow(d->r, &t);
    return status == PC_OK ? taken(d, decode_token(d, &t, term), start, depth) : failed(d, status);
}

/* The next key, whatever it is. */
APART static enum pc_status next_other_key(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    const uint8_t *start = d->r->p;
    unsigned depth = d->depth;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type != PC_STR) {
        status = decode_token(d, &t, term);
    } else {
        status = t.len <= MOST_KNOWN_BYTES ? decode_repeated(d, &t, term) : decode_key_str(d, &t, term);
    }
    return taken(d, status, start, depth);
}

/* The next key, which is mostly a short text that was there before. */
static inline enum pc_status next_key(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t;
    const uint8_t *start = d->r->p;
    if (!pc_reader_take_short_str(d->r, &t)) {
        return next_other_key(d, term);
    }
    return taken(d, decode_repeated(d, &t, term), start, d->depth);
}

/* Numbers mostly come many together: those at hand, into a list that has `at` of its n elements, as far as units reach. */
static uint32_t fill_numbers(struct decoder *d, size_t base, uint32_t n, uint32_t at) {
    ErlNifEnv *env = d->env;
    ERL_NIF_TERM *terms = d->terms + base;
    struct pc_reader r = *d->r;
    uint32_t begin = at;
    uint32_t most = d->units < n - at ? at + (uint32_t)(d->units > 0 ? d->units : 0) : n;
    int64_t i;
    double f;
    while (at < most && pc_reader_take_int(&r, &i)) {
        terms[at++] = pc_small_make(env, i);
    }
    d->r->p = r.p;
    while (at < most && pc_reader_take_float(&r, &f) && __builtin_expect(isfinite(f), 1)) {
        terms[at++] = enif_make_double(env, f);
        d->r->p = r.p;
    }
    d->units -= at - begin;
    d->owed -= at - begin;
    return at;
}

/*
 * Elements for the list on top, until it is full or another container is on top. What moves with the stacks is looked up
 * each time.
 */
static enum pc_status fill_list(struct decoder *d) {
    unsigned depth = d->depth;
    const struct level top = d->levels[depth - 1];
    enum pc_status status = PC_OK;
    uint32_t at = top.at;
    for (;;) {
        ERL_NIF_TERM term = 0;
        if (pc_reader_is_number(d->r)) {
            at = fill_numbers(d, top.base, top.n, at);
        }
        if (at == top.n) {
            break;
        }
        d->units--;
        status = is_time_up(d) ? PC_BUDGET : next_value(d, &term);
        if (status != PC_OK || d->depth > depth) {
            break;
        }
        d->terms[top.base + at++] = term;
    }
    d->levels[depth - 1].at = at;
    return status;
}

/* The same for a map. */
static enum pc_status fill_map(struct decoder *d) {
    unsigned depth = d->depth;
    const struct level top = d->levels[depth - 1];
    enum pc_status status = PC_OK;
    uint32_t at = top.at;
    bool has_key = top.has_key;
    while (at < top.n) {
        ERL_NIF_TERM term = 0;
        d->units -= PAIR_COST;
        status = is_time_up(d) ? PC_BUDGET : has_key ? PC_OK : next_key(d, &term);
        if (status != PC_OK || d->depth > depth) {
            break;
        }
        if (!has_key) {
            d->terms[top.base + at] = term;
            has_key = true;
        }
        status = next_value(d, &term);
        if (status != PC_OK || d->depth > depth) {
            break;
        }
        d->terms[top.base + top.n + at++] = term;
        has_key = false;
    }
    d->levels[depth - 1].at = at;
    d->levels[depth - 1].has_key = has_key;
    return status;
}

/* A container that is made, for the one that has waited for it. */
static void place(struct decoder *d, ERL_NIF_TERM term) {
    struct level *l = &d->levels[d->depth - 1];
    if (!l->is_map) {
        d->terms[l->base + l->at++] = term;
    } else if (!l->has_key) {
        d->terms[l->base + l->at] = term;
        l->has_key = true;
    } else {
        d->terms[l->base + l->n + l->at++] = term;
        l->has_key = false;
    }
}

/* Until the container at `lowest` is full and on top. */
static enum pc_status run(struct decoder *d, unsigned lowest) {
    for (;;) {
        unsigned depth = d->depth;
        enum pc_status status = d->levels[depth - 1].is_map ? fill_map(d) : fill_list(d);
        if (status != PC_OK) {
            return status;
        }
        if (d->depth > depth) {
            continue;
        }
        if (depth == lowest) {
            return PC_OK;
        }
        ERL_NIF_TERM term;
        status = make_top(d, &term);
        if (status != PC_OK) {
            return status;
        }
        place(d, term);
    }
}

/* After a failure: away with what is open from `lowest` on, which is the way to where it failed. */
static void abandon(struct decoder *d, unsigned lowest, bool is_error) {
    while (d->depth >= lowest) {
        const struct level *l = &d->levels[d->depth - 1];
        if (is_error && l->is_map && !l->has_key && l->at < l->n) {
            (void)pc_term_stop_here(d->env, d->err, "in a key");
        } else if (is_error && l->is_map && l->has_key) {
            (void)pc_term_unwind(d->env, d->err, d->terms[l->base + l->at]);
        } else if (is_error && !l->is_map && l->at < l->n) {
            (void)pc_term_unwind(d->env, d->err, enif_make_uint64(d->env, l->at));
        }
        close_top(d);
    }
}

enum pc_status pc_term_fill(struct decoder *d) {
    unsigned lowest = d->depth;
    enum pc_status status = run(d, lowest);
    if (status != PC_OK) {
        abandon(d, lowest, status != PC_BUDGET);
    }
    return status;
}

/* ---- The whole */

/* From wherever it is to the end. */
static enum pc_status finish(struct decoder *d, ERL_NIF_TERM *term) {
    enum pc_status status = PC_OK;
    if (d->depth == 0) {
        d->units--;
        status = is_time_up(d) ? PC_BUDGET : next_value(d, term);
        if (status != PC_OK || d->depth == 0) {
            return status;
        }
    }
    status = run(d, 1);
    return status == PC_OK ? make_top(d, term) : status;
}

enum pc_status pc_term_decode_within(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                                     struct pc_budget *budget, struct pc_term_pause *pause, ERL_NIF_TERM *term,
                                     struct pc_term_error *err) {
    struct decoder d;
    pc_term_decoder_init(&d, env, r, opts, budget, err);
    enum pc_status status = finish(&d, term);
    if (status != PC_OK && status != PC_BUDGET) {
        abandon(&d, 1, true);
    } else if (status == PC_BUDGET && pause != NULL && !pc_term_decoder_save(&d, pause)) {
        status = failed(&d, PC_NO_MEMORY);
    }
    if (budget != NULL) {
        budget->units = d.units;
    }
    pc_term_decoder_destroy(&d);
    return status;
}

enum pc_status pc_term_decode_on(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_pause *pause,
                                 const struct pc_term_opts *opts, ERL_NIF_TERM *term, struct pc_term_error *err) {
    struct decoder d;
    pc_term_decoder_init(&d, env, r, opts, NULL, err);
    enum pc_status status = PC_NO_MEMORY;
    if (!pc_term_decoder_restore(&d, pause)) {
        (void)failed(&d, status);
    } else if ((status = finish(&d, term)) != PC_OK) {
        abandon(&d, 1, true);
    }
    pc_term_decoder_destroy(&d);
    return status;
}

enum pc_status pc_term_decode(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts, ERL_NIF_TERM *term,
                              struct pc_term_error *err) {
    return pc_term_decode_within(env, r, opts, NULL, NULL, term, err);
}
