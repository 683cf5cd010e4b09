/*
 * Terms to MessagePack: a recursive walk straight into the writer.
 *
 * Invariants: containers nest at most max_depth deep; each term costs a unit of the budget before work is done
 * for it; the path is built only while unwinding from a failure. Must not keep a pointer into the writer's memory
 * across a write: it moves.
 */

#include "atoms.h"
#include "codec/ext.h"
#include "term_encoder.h"

enum {
    LARGE_MAP = 32,
    /* Elements of an array before it needs a wider header. */
    NARROW = 15,
    WIDE = 65535,
};

static enum pc_status encode_typed(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType type);

/* How far the output has come, to go back to when a term turns out to be something else. */
struct progress {
    size_t len;
    size_t cuts;
    size_t elsewhere;
};

static inline struct progress progress(const struct encoder *e) {
    const struct pc_cuts *cuts = e->opts->cuts;
    return (struct progress){.len = e->w->len, .cuts = cuts != NULL ? cuts->n : 0, .elsewhere = bytes_elsewhere(e)};
}

static void go_back(struct encoder *e, const struct progress *to) {
    if (e->w->status != PC_OK) {
        return;
    }
    e->w->len = to->len;
    e->places_used = 0; /* some may have stood behind it */
    if (e->opts->cuts != NULL) {
        e->w->max += e->opts->cuts->bytes - to->elsewhere;
        e->opts->cuts->n = to->cuts;
        e->opts->cuts->bytes = to->elsewhere;
    }
}

/* Terms that only this VM understands. What the VM makes of them is of unknown size, but for a few. */
static enum pc_status encode_opaque(struct encoder *e, ERL_NIF_TERM term, bool is_small) {
    if (e->bounded && !is_small) {
        return PC_BUDGET;
    }
    e->units -= OPAQUE_COST;
    return pc_term_write_opaque(e->env, e->w, term) ? written(e) : no_memory(e);
}

static enum pc_status encode_binary(struct encoder *e, ERL_NIF_TERM term) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(e->env, term, &bin)) {
        return encode_opaque(e, term, false);
    }
    return encode_bytes(e, term, &bin, e->opts->binaries);
}

/* A list on the way through it: an element that is not written yet, if `more`, and what comes behind it. */
struct walk {
    ERL_NIF_TERM head;
    ERL_NIF_TERM tail;
    bool more;
};

static inline void step(struct encoder *e, struct walk *at) {
    at->more = enif_get_list_cell(e->env, at->tail, &at->head, &at->tail) != 0;
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
    struct pc_writer w = *e->w;
    size_t run = free_run(e, most);
    size_t n = 0;
    while (n < run && at->more && pc_is_small(at->head)) {
        (void)msgpack_pack_int64(&w, pc_small_value(at->head));
        n++;
        step(e, at);
    }
    e->w->len = w.len;
    e->units -= (int64_t)n;
    return n;
}

__attribute__((flatten)) static size_t encode_floats(struct encoder *e, struct walk *at, size_t most) {
    struct pc_writer w = *e->w;
    size_t run = free_run(e, most);
    size_t n = 0;
    double value;
    while (n < run && at->more && enif_get_double(e->env, at->head, &value)) {
        (void)msgpack_pack_double(&w, value);
        n++;
        step(e, at);
    }
    e->w->len = w.len;
    e->units -= (int64_t)n;
    return n;
}

/* Elements of one list are mostly of one type; for binaries a guess saves a call of the VM. */
static inline enum pc_status encode_element(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType *last) {
    ErlNifBinary bin;
    if (--e->units < 0) {
        return PC_BUDGET;
    }
    if (pc_is_small(term)) {
        pc_write_int(e->w, pc_small_value(term));
        return written(e);
    }
    e->units -= TERM_COST;
    if (*last == ERL_NIF_TERM_TYPE_BITSTRING && enif_inspect_binary(e->env, term, &bin)) {
        return encode_bytes(e, term, &bin, e->opts->binaries);
    }
    *last = enif_term_type(e->env, term);
    return encode_typed(e, term, *last);
}

/* Everything behind the mark has moved. */
static void shift(struct encoder *e, size_t mark, size_t by) {
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
static void stop_here(struct encoder *e, size_t len, size_t count, ERL_NIF_TERM head, ERL_NIF_TERM rest) {
    e->stop->rest = enif_make_list_cell(e->env, head, rest);
    e->stop->count = count;
    e->stop->len = len;
}

/* *rest is what is left when it ends, or where it failed; *count is how many elements came before. */
static enum pc_status encode_elements(struct encoder *e, size_t mark, ERL_NIF_TERM *rest, size_t *count) {
    ErlNifTermType last = ERL_NIF_TERM_TYPE_LIST;
    struct walk at = {.tail = *rest};
    enum pc_status status = PC_OK;
    size_t n = *count;
    size_t limit = n <= NARROW ? NARROW : n <= WIDE ? WIDE : SIZE_MAX;
    unsigned depth = e->depth;
    step(e, &at);
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
        size_t before = e->w->len;
        status = encode_element(e, at.head, &last);
        if (status == PC_BUDGET && e->stop != NULL && depth == 1) {
            stop_here(e, before, n, at.head, at.tail);
        }
        if (status != PC_OK) {
            break;
        }
        n++;
        step(e, &at);
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
        if (--e->units < 0) {
            return PC_BUDGET;
        }
    }
    *is_proper = enif_is_empty_list(e->env, rest);
    return PC_OK;
}

/* Goes on with a list after `count` elements, at `rest`; `start` is where its header is. */
static enum pc_status encode_rest(struct encoder *e, ERL_NIF_TERM list, const struct progress *start, ERL_NIF_TERM rest,
                                  size_t count) {
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
        go_back(e, start);
        return encode_opaque(e, list, false);
    }
    if (status != PC_OK) {
        return unwind(e, status, enif_make_uint64(e->env, count));
    }
    pc_write_array_end(e->w, start->len, count);
    return written(e);
}

static enum pc_status encode_list(struct encoder *e, ERL_NIF_TERM list) {
    struct progress start = progress(e);
    (void)pc_write_array_begin(e->w);
    return encode_rest(e, list, &start, list, 0);
}

static enum pc_status encode_tuple(struct encoder *e, ERL_NIF_TERM tuple) {
    int arity;
    const ERL_NIF_TERM *elements;
    (void)enif_get_tuple(e->env, tuple, &arity, &elements);
    if (e->opts->tuples == PC_TUPLES_ERROR) {
        return unsupported(e, "a tuple (by the option tuples: error)");
    }
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    bool is_ext = e->opts->tuples == PC_TUPLES_EXT;
    size_t mark = is_ext ? pc_write_ext_begin(e->w) : 0;
    size_t elsewhere = bytes_elsewhere(e);
    pc_write_array(e->w, (size_t)arity);
    for (int i = 0; i < arity; i++) {
        status = pc_term_encode_value(e, elements[i]);
        if (status != PC_OK) {
            return unwind(e, status, enif_make_int(e->env, i));
        }
    }
    if (is_ext) {
        pc_write_ext_end_apart(e->w, mark, PC_EXT_TUPLE, bytes_elsewhere(e) - elsewhere);
    }
    e->depth--;
    return written(e);
}

static enum pc_status encode_key(struct encoder *e, ERL_NIF_TERM key) {
    size_t slot = slot_of(key);
    size_t at = e->w->len;
    if (repeat(e, key, slot)) {
        e->units--;
        return written(e);
    }
    size_t elsewhere = bytes_elsewhere(e);
    enum pc_status status = pc_term_encode_value(e, key);
    if (status == PC_OK && elsewhere == bytes_elsewhere(e)) {
        remember(e, key, slot, at);
    }
    return status;
}

static enum pc_status encode_pairs(struct encoder *e, ErlNifMapIterator *it, size_t n, ERL_NIF_TERM *struct_name) {
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    while (enif_map_iterator_get_pair(e->env, it, &key, &value)) {
        if (key == am_struct_key) {
            *struct_name = value;
            return PC_OK;
        }
        /* The keys of a large map are data, and would only push the others out. */
        enum pc_status status = n > LARGE_MAP ? pc_term_encode_value(e, key) : encode_key(e, key);
        if (status == PC_OK) {
            status = pc_term_encode_value(e, value);
        }
        if (status != PC_OK) {
            return unwind(e, status, key);
        }
        (void)enif_map_iterator_next(e->env, it);
    }
    return PC_OK;
}

static bool has_key(struct encoder *e, ERL_NIF_TERM map, ERL_NIF_TERM key) {
    ERL_NIF_TERM value;
    return key != 0 && enif_get_map_value(e->env, map, key, &value);
}

static bool is_written_as_text(const struct encoder *e, ERL_NIF_TERM atom) {
    bool is_float = !e->opts->finite && (atom == am_nan || atom == am_infinity || atom == am_neg_infinity);
    return atom != e->opts->nil && atom != am_true && atom != am_false && !is_float;
}

static ERL_NIF_TERM list_of(struct encoder *e, ERL_NIF_TERM tuple) {
    int arity;
    const ERL_NIF_TERM *elements;
    (void)enif_get_tuple(e->env, tuple, &arity, &elements);
    return enif_make_list_from_array(e->env, elements, (unsigned)arity);
}

/* With atoms as str, or tuples as arrays, two keys may become one on the wire, which would lose a pair. */
static enum pc_status refuse_twins(struct encoder *e, ERL_NIF_TERM map) {
    ErlNifMapIterator it;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    enum pc_status status = PC_OK;
    if (!enif_map_iterator_create(e->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return no_memory(e);
    }
    for (; status == PC_OK && enif_map_iterator_get_pair(e->env, &it, &key, &value);
         enif_map_iterator_next(e->env, &it)) {
        bool atom = e->opts->atoms == PC_ATOMS_STRING && enif_is_atom(e->env, key) && is_written_as_text(e, key);
        bool tuple = e->opts->tuples == PC_TUPLES_LIST && enif_is_tuple(e->env, key);
        if ((atom && has_key(e, map, pc_term_atom_text(e->env, key))) || (tuple && has_key(e, map, list_of(e, key)))) {
            status = unwind(
                e, pc_term_fail(e->env, e->err, PC_INVALID, "a map with another key that would be the same"), key);
        }
    }
    enif_map_iterator_destroy(e->env, &it);
    return status;
}

static enum pc_status encode_map(struct encoder *e, ERL_NIF_TERM map) {
    size_t n;
    ErlNifMapIterator it;
    unsigned depth = e->depth;
    ERL_NIF_TERM struct_name = 0;
    enum pc_status status = enter(e);
    if (status != PC_OK) { /* but a struct need not be a container */
        bool is_struct = enif_get_map_value(e->env, map, am_struct_key, &struct_name) != 0;
        return is_struct ? pc_term_encode_struct(e, map, struct_name) : status;
    }
    (void)enif_get_map_size(e->env, map, &n);
    struct progress start = progress(e);
    pc_write_map(e->w, n);
    if (!enif_map_iterator_create(e->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return no_memory(e);
    }
    status = encode_pairs(e, &it, n, &struct_name);
    enif_map_iterator_destroy(e->env, &it);
    /* The key of a struct may come last, or after a field that failed: the struct is the better story. */
    if (status != PC_OK && status != PC_BUDGET) {
        (void)enif_get_map_value(e->env, map, am_struct_key, &struct_name);
    }
    e->depth = depth;
    if (struct_name != 0) {
        go_back(e, &start);
        return pc_term_encode_struct(e, map, struct_name);
    }
    if (status == PC_OK && (e->opts->atoms == PC_ATOMS_STRING || e->opts->tuples == PC_TUPLES_LIST)) {
        status = refuse_twins(e, map);
    }
    return status == PC_OK ? written(e) : status;
}

static enum pc_status encode_typed(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType type) {
    switch (type) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return encode_atom(e, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return encode_integer(e, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return encode_float(e, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return encode_binary(e, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return encode_list(e, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return encode_map(e, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return encode_tuple(e, term);
    case ERL_NIF_TERM_TYPE_PID:
    case ERL_NIF_TERM_TYPE_PORT:
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return encode_opaque(e, term, true);
    case ERL_NIF_TERM_TYPE_FUN: /* with all that it has closed over */
        return encode_opaque(e, term, false);
    default:
        return unsupported(e, "a term of an unknown type");
    }
}

enum pc_status pc_term_encode_value(struct encoder *e, ERL_NIF_TERM term) {
    if (--e->units < 0) {
        return PC_BUDGET;
    }
    if (pc_is_small(term)) {
        pc_write_int(e->w, pc_small_value(term));
        return written(e);
    }
    e->units -= TERM_COST;
    return encode_typed(e, term, enif_term_type(e->env, term));
}

static void encoder_init(struct encoder *e, ErlNifEnv *env, struct pc_writer *w, const struct pc_term_opts *opts,
                         const int64_t *budget, struct pc_term_error *err) {
    e->env = env;
    e->w = w;
    e->opts = opts;
    e->err = err;
    e->units = budget != NULL ? *budget : INT64_MAX;
    e->bounded = budget != NULL;
    e->depth = 0;
    e->max_depth = opts->max_depth != 0 ? opts->max_depth : PC_MAX_DEPTH;
    e->max_size = w->max;
    e->empty_list = enif_make_list_from_array(env, NULL, 0);
    e->stop = NULL;
    e->places_used = 0;
}

enum pc_status pc_term_encode(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term, const struct pc_term_opts *opts,
                              int64_t *budget, struct pc_term_error *err) {
    return pc_term_encode_until(env, w, term, opts, budget, NULL, err);
}

enum pc_status pc_term_encode_until(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term,
                                    const struct pc_term_opts *opts, int64_t *budget, struct pc_term_stop *stop,
                                    struct pc_term_error *err) {
    struct encoder e;
    encoder_init(&e, env, w, opts, budget, err);
    if (stop != NULL) {
        stop->count = 0;
        e.stop = stop;
    }
    enum pc_status status = pc_term_encode_value(&e, term);
    if (budget != NULL) {
        *budget = e.units;
    }
    return status;
}

enum pc_status pc_term_encode_on(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM list,
                                 const struct pc_term_stop *stop, const struct pc_term_opts *opts,
                                 struct pc_term_error *err) {
    struct encoder e;
    const struct progress start = {.len = 0};
    encoder_init(&e, env, w, opts, NULL, err);
    return encode_rest(&e, list, &start, stop->rest, stop->count);
}
