/*
 * Lists to arrays. How long a list is shows at its end, so the header is written last; and what ends otherwise is no list at
 * all. Lists of numbers are what a codec is measured by, and have a loop of their own.
 */

#include "atoms.h"
#include "term_encoder.h"

enum {
    /* Elements of an array before it needs a wider header. */
    NARROW = 15,
    WIDE = 65535,
};

/* A list on the way through it: an element that is not written yet, if `more`, and what comes behind it. */
struct walk {
    ERL_NIF_TERM head;
    ERL_NIF_TERM tail;
    bool more;
};

static inline void step(ErlNifEnv *env, struct walk *at) {
    at->more = enif_get_list_cell(env, at->tail, &at->head, &at->tail) != 0;
}

/* How many numbers can be written without a look at units and room between them. */
static inline size_t free_run(const struct encoder *e, size_t most) {
    size_t room = e->w->status == PC_OK ? (e->w->cap - e->w->len) / PC_PACK_MOST : 0;
    size_t units = e->units > 0 ? (size_t)e->units : 0;
    size_t run = room < units ? room : units;
    return run < most ? run : most;
}

/*
 * Numbers mostly come many together. These two write those at hand, with the writer in registers meanwhile, which halves
 * the time for each; they return how many.
 */
__attribute__((flatten)) static size_t encode_smalls(struct encoder *e, struct walk *at, size_t most) {
    ErlNifEnv *env = e->env;
    struct pc_writer w = *e->w;
    size_t run = free_run(e, most);
    size_t n = 0;
    ERL_NIF_TERM head = at->head;
    ERL_NIF_TERM tail = at->tail;
    bool more = true;
    while (n < run && more && pc_is_small(head)) {
        (void)msgpack_pack_int64(&w, pc_small_value(head));
        n++;
        more = enif_get_list_cell(env, tail, &head, &tail) != 0;
    }
    at->head = head;
    at->tail = tail;
    at->more = more;
    e->w->len = w.len;
    e->units -= (int64_t)n;
    return n;
}

__attribute__((flatten)) static size_t encode_floats(struct encoder *e, struct walk *at, size_t most) {
    ErlNifEnv *env = e->env;
    struct pc_writer w = *e->w;
    size_t run = free_run(e, most);
    size_t n = 0;
    ERL_NIF_TERM head = at->head;
    ERL_NIF_TERM tail = at->tail;
    bool more = true;
    double value;
    while (n < run && more && enif_get_double(env, head, &value)) {
        (void)msgpack_pack_double(&w, value);
        n++;
        more = enif_get_list_cell(env, tail, &head, &tail) != 0;
    }
    at->head = head;
    at->tail = tail;
    at->more = more;
    e->w->len = w.len;
    e->units -= (int64_t)n;
    return n;
}

/* Elements of one list are mostly of one type; for binaries a guess saves a call of the VM. */
static inline enum pc_status encode_element(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType *last) {
    ErlNifBinary bin;
    e->units--;
    if (is_time_up(e)) {
        return PC_BUDGET;
    }
    if (pc_is_small(term)) {
        *last = ERL_NIF_TERM_TYPE_INTEGER;
        pc_write_int(e->w, pc_small_value(term));
        return written(e);
    }
    e->units -= TERM_COST;
    if (*last == ERL_NIF_TERM_TYPE_BITSTRING && enif_inspect_binary(e->env, term, &bin)) {
        return encode_bytes(e, term, &bin, e->opts->binaries);
    }
    *last = enif_term_type(e->env, term);
    return pc_term_encode_typed(e, term, *last);
}

/* Everything behind the mark has moved. */
APART static void shift(struct encoder *e, size_t mark, size_t by) {
    for (size_t slot = 0; slot < SLOTS; slot++) {
        if ((e->places_used >> slot & 1) != 0 && e->places[slot].at > mark) {
            e->places[slot].at += by;
        }
    }
    struct pc_cuts *cuts = e->opts->cuts;
    for (size_t i = cuts != NULL ? cuts->n : 0; i > 0 && cuts->list[i - 1].at > mark; i--) {
        cuts->list[i - 1].at += by;
    }
}

/* The outermost list can be gone on with, from the element where units ran out. */
APART static void pause_here(struct encoder *e, const struct progress *at, size_t count, ERL_NIF_TERM head,
                             ERL_NIF_TERM rest) {
    pc_term_go_back(e, at);
    e->stop->rest = enif_make_list_cell(e->env, head, rest);
    e->stop->count = count;
}

/* *rest is what is left when it ends, or where it failed; *count is how many elements came before. */
static inline enum pc_status encode_elements(struct encoder *e, size_t mark, ERL_NIF_TERM *rest, size_t *count) {
    ErlNifTermType last = ERL_NIF_TERM_TYPE_LIST;
    struct walk at = {.tail = *rest};
    enum pc_status status = PC_OK;
    size_t n = *count;
    /* What stopped before an element had made room for it already. */
    size_t limit = n < NARROW ? NARROW : n < WIDE ? WIDE : SIZE_MAX;
    unsigned depth = e->depth;
    step(e->env, &at);
    while (at.more) {
        if (__builtin_expect(n == limit, 0)) {
            shift(e, mark, pc_write_array_widen(e->w, mark, n));
            limit = limit == NARROW ? WIDE : SIZE_MAX;
        }
        size_t run = pc_is_small(at.head)              ? encode_smalls(e, &at, limit - n)
                     : last == ERL_NIF_TERM_TYPE_FLOAT ? encode_floats(e, &at, limit - n)
                                                       : 0;
        n += run;
        if (run > 0) {
            continue;
        }
        struct progress before = progress(e);
        status = encode_element(e, at.head, &last);
        if (status == PC_BUDGET && e->stop != NULL && depth == 1) {
            pause_here(e, &before, n, at.head, at.tail);
        }
        if (status != PC_OK) {
            break;
        }
        n++;
        step(e->env, &at);
    }
    *rest = at.tail;
    *count = n;
    return status;
}

/* Whether what is left of a list ends as a list does. */
static inline enum pc_status find_end(struct encoder *e, ERL_NIF_TERM rest, bool *is_proper) {
    ERL_NIF_TERM head;
    if (rest == e->empty_list) {
        *is_proper = true;
        return PC_OK;
    }
    while (enif_get_list_cell(e->env, rest, &head, &rest)) {
        e->units--;
        if (is_time_up(e)) {
            return PC_BUDGET;
        }
    }
    *is_proper = enif_is_empty_list(e->env, rest);
    return PC_OK;
}

/* Goes on with a list after `count` elements, at `rest`; `start` is where its header is. */
static inline enum pc_status encode_rest(struct encoder *e, ERL_NIF_TERM list, const struct progress *start,
                                         ERL_NIF_TERM rest, size_t count) {
    bool is_proper;
    unsigned depth = e->depth;
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    status = encode_elements(e, start->len, &rest, &count);
    if (status == PC_BUDGET || find_end(e, rest, &is_proper) == PC_BUDGET) {
        return PC_BUDGET;
    }
    e->depth = depth;
    if (!is_proper) { /* and so no list for anybody else, whatever is in it */
        pc_term_go_back(e, start);
        return pc_term_encode_opaque(e, list, false);
    }
    if (status != PC_OK) {
        return unwind(e, status, enif_make_uint64(e->env, count));
    }
    pc_write_array_end(e->w, start->len, count);
    return written(e);
}

enum pc_status pc_term_encode_list(struct encoder *e, ERL_NIF_TERM list) {
    struct progress start = progress(e);
    (void)pc_write_array_begin(e->w);
    return encode_rest(e, list, &start, list, 0);
}

enum pc_status pc_term_encode_list_on(struct encoder *e, ERL_NIF_TERM list, const struct pc_term_stop *stop) {
    const struct progress start = {.len = 0};
    return encode_rest(e, list, &start, stop->rest, stop->count);
}
