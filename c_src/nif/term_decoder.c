/*
 * What a decoding keeps while it runs, and between two schedulers: the stacks of terms and of open containers, and the budget. The
 * stacks begin inside the decoder, so small input takes no memory of its own.
 */

#include <string.h>

#include "term_decoder.h"

void pc_term_decoder_init(struct decoder *d, ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                          struct pc_budget *budget, struct pc_term_error *err) {
    d->env = env;
    d->r = r;
    d->whole = *r;
    d->opts = opts;
    d->err = err;
    d->budget = budget;
    d->units = budget != NULL ? budget->units : PC_BUDGET_GRANT;
    d->owed = 1;
    d->terms = d->local;
    d->top = 0;
    d->cap = LOCAL_TERMS;
    d->levels = d->local_levels;
    d->depth = 0;
    d->max_depth = opts->max_depth != 0 ? opts->max_depth : PC_MAX_DEPTH;
    d->levels_cap = LOCAL_LEVELS;
    d->known_used = 0;
}

void pc_term_decoder_destroy(struct decoder *d) {
    if (d->terms != d->local) {
        enif_free(d->terms);
    }
    if (d->levels != d->local_levels) {
        enif_free(d->levels);
    }
}

/* Whether what is left, if it is like what has been read, will take more time than there is. */
static bool is_hopeless(const struct decoder *d) {
    double done = (double)(d->r->p - d->whole.p);
    double left = (double)(d->whole.end - d->r->p);
    return (double)(d->budget->granted - d->units) * left > done * PC_BUDGET_NS / PC_BUDGET_UNIT_NS;
}

/* Work that will have to move moves early: what is alive is copied on the way, and the least is alive in the beginning. */
bool pc_term_decode_extend(struct decoder *d) {
    bool is_first = d->budget != NULL && !d->budget->exact && d->budget->end == 0;
    if (is_first && is_hopeless(d)) {
        d->units = 0;
        return false;
    }
    return pc_budget_extend(d->budget, &d->units);
}

/* More room in an array that begins in the decoder itself, and moves to memory of its own; NULL when there is none. */
static void *grow(void *array, const void *local, size_t used, size_t cap) {
    void *bigger = enif_alloc(cap);
    if (bigger != NULL) {
        memcpy(bigger, array, used);
        if (array != local) {
            enif_free(array);
        }
    }
    return bigger;
}

static bool reserve_terms(struct decoder *d, size_t need) {
    if (need <= d->cap) {
        return true;
    }
    size_t cap = need > 2 * d->cap ? need : 2 * d->cap;
    ERL_NIF_TERM *terms = grow(d->terms, d->local, d->top * sizeof *terms, cap * sizeof *terms);
    if (terms != NULL) {
        d->terms = terms;
        d->cap = cap;
    }
    return terms != NULL;
}

static bool reserve_levels(struct decoder *d, unsigned need) {
    if (need <= d->levels_cap) {
        return true;
    }
    unsigned cap = 2 * need;
    struct level *levels = grow(d->levels, d->local_levels, d->depth * sizeof *levels, cap * sizeof *levels);
    if (levels != NULL) {
        d->levels = levels;
        d->levels_cap = cap;
    }
    return levels != NULL;
}

bool pc_term_decoder_reserve(struct decoder *d, size_t terms) {
    return reserve_terms(d, d->top + terms) && reserve_levels(d, d->depth + 1);
}

bool pc_term_decoder_save(struct decoder *d, struct pc_term_pause *pause) {
    size_t n = 0;
    for (unsigned i = 0; i < d->depth; i++) {
        const struct level *l = &d->levels[i];
        size_t first = l->at + (l->has_key ? 1 : 0);
        memmove(d->terms + n, d->terms + l->base, first * sizeof *d->terms);
        n += first;
        if (l->is_map) {
            memmove(d->terms + n, d->terms + l->base + l->n, l->at * sizeof *d->terms);
            n += l->at;
        }
    }
    pause->terms = enif_make_tuple_from_array(d->env, d->terms, (unsigned)n);
    uint8_t *to = enif_make_new_binary(d->env, sizeof d->owed + d->depth * sizeof *d->levels, &pause->levels);
    if (to != NULL) {
        memcpy(to, &d->owed, sizeof d->owed);
        memcpy(to + sizeof d->owed, d->levels, d->depth * sizeof *d->levels);
    }
    return to != NULL;
}

bool pc_term_decoder_restore(struct decoder *d, const struct pc_term_pause *pause) {
    ErlNifBinary bin;
    int arity;
    const ERL_NIF_TERM *from;
    if (!enif_inspect_binary(d->env, pause->levels, &bin) || !enif_get_tuple(d->env, pause->terms, &arity, &from)) {
        return false;
    }
    unsigned depth = (unsigned)((bin.size - sizeof d->owed) / sizeof *d->levels);
    if (!reserve_levels(d, depth)) {
        return false;
    }
    memcpy(&d->owed, bin.data, sizeof d->owed);
    memcpy(d->levels, bin.data + sizeof d->owed, depth * sizeof *d->levels);
    for (d->depth = 0; d->depth < depth; d->depth++) {
        const struct level *l = &d->levels[d->depth];
        size_t first = l->at + (l->has_key ? 1 : 0);
        size_t end = l->base + l->n + (l->is_map ? l->n : 0);
        if (!reserve_terms(d, end)) {
            return false;
        }
        memcpy(d->terms + l->base, from, first * sizeof *from);
        from += first;
        if (l->is_map) {
            memcpy(d->terms + l->base + l->n, from, l->at * sizeof *from);
            from += l->at;
        }
        d->top = end;
    }
    return true;
}
