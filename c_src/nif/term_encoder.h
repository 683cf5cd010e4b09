#ifndef PC_NIF_TERM_ENCODER_H
#define PC_NIF_TERM_ENCODER_H

/*
 * The state of one encoding and its leaves: atoms, numbers, binaries. Inline and private to term_encode*.c, which have the
 * containers: a call for each leaf would cost as much as the leaf.
 */

#include <math.h>
#include <string.h>

#include "atoms.h"
#include "budget.h"
#include "buffers.h"
#include "term_private.h"
#include "term_small.h"
#include "wire/segment_footer.h"

enum {
    SLOT_BITS = 5,
    SLOTS = 1 << SLOT_BITS,
    /* In units: what any term costs but a number; what some cost besides. */
    TERM_COST = 2,
    STRUCT_COST = 30,
    OPAQUE_COST = 50,
    BIGINT_COST = 15,
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
    struct pc_budget *budget; /* or NULL; with one, work whose size is not known is for elsewhere */
    int64_t units;            /* of it, those that are left */
    unsigned depth;
    unsigned max_depth;
    unsigned keys;   /* maps' keys and sets' elements around what is written */
    size_t max_size; /* of all that is written, for the message */
    ERL_NIF_TERM empty_list;
    struct pc_term_stop *stop; /* where the outermost list was when units ran out; or NULL */
    uint32_t places_used;      /* one bit for each slot */
    struct place places[SLOTS];
};

/* How far the output has come, to go back to when a term turns out to be something else. */
struct progress {
    size_t len;
    size_t cuts;
    size_t elsewhere;
    uint32_t segments;
};

/* term_encode.c: any term; one whose type is known; one that only this VM understands; and a step back. */
enum pc_status pc_term_encode_value(struct encoder *e, ERL_NIF_TERM term);
enum pc_status pc_term_encode_typed(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType type);
enum pc_status pc_term_encode_opaque(struct encoder *e, ERL_NIF_TERM term, bool is_small);
/* What the worker may call, by its number, as an extension of this type; only among the arguments of a call. */
enum pc_status pc_term_encode_called(struct encoder *e, ERL_NIF_TERM term, int8_t type);
void pc_term_go_back(struct encoder *e, const struct progress *to);

/* A large binary in shared memory; *done: it is, or has failed. Its contents have been looked at. */
enum pc_status pc_term_encode_apart(struct encoder *e, enum pc_segment_kind kind, const ErlNifBinary *bin, bool *done);

/* term_encode_list.c: a list; or the rest of one, of which the writer holds the beginning. */
enum pc_status pc_term_encode_list(struct encoder *e, ERL_NIF_TERM list);
enum pc_status pc_term_encode_list_on(struct encoder *e, ERL_NIF_TERM list, const struct pc_term_stop *stop);

/* term_encode_map.c: a map or a struct. term_encode_struct.c: a map that has `name` as its struct. */
enum pc_status pc_term_encode_map(struct encoder *e, ERL_NIF_TERM map);
enum pc_status pc_term_encode_struct(struct encoder *e, ERL_NIF_TERM map, ERL_NIF_TERM name);

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

static inline enum pc_status stop_here(struct encoder *e, enum pc_status status, const char *where) {
    return status == PC_BUDGET ? status : pc_term_stop_here(e->env, e->err, where);
}

static inline bool is_time_up(struct encoder *e) {
    return __builtin_expect(e->units < 0, 0) && !pc_budget_extend(e->budget, &e->units);
}

static inline enum pc_status enter(struct encoder *e) {
    if (e->depth == e->max_depth) {
        return pc_term_fail(e->env, e->err, PC_TOO_DEEP, "nested more than %u levels deep", e->max_depth);
    }
    e->depth++;
    return PC_OK;
}

static inline enum pc_status too_big(struct encoder *e) {
    return pc_term_fail(e->env, e->err, PC_TOO_BIG, "larger than the limit of %zu bytes", e->max_size);
}

/* Every way out of a leaf: the writer's error, if it has one, becomes ours. */
static inline enum pc_status written(struct encoder *e) {
    if (__builtin_expect(e->w->status == PC_OK, 1)) {
        return PC_OK;
    }
    return e->w->status == PC_TOO_BIG ? too_big(e) : no_memory(e);
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

static inline size_t bytes_elsewhere(const struct encoder *e) {
    return e->opts->cuts != NULL ? e->opts->cuts->bytes : 0;
}

static inline struct progress progress(const struct encoder *e) {
    const struct pc_cuts *cuts = e->opts->cuts;
    const struct pc_outgo *outgo = e->opts->outgo;
    return (struct progress){.len = e->w->len,
                             .cuts = cuts != NULL ? cuts->n : 0,
                             .elsewhere = bytes_elsewhere(e),
                             .segments = outgo != NULL ? outgo->count : 0};
}

/* Leaves a binary where it is, behind the header that was just written for it. */
static inline enum pc_status cut(struct encoder *e, ERL_NIF_TERM binary, size_t n) {
    struct pc_cuts *cuts = e->opts->cuts;
    struct pc_writer *w = e->w;
    if (w->status == PC_OK && w->max - w->len < n) {
        return too_big(e);
    }
    if (cuts->n == cuts->cap) {
        size_t cap = cuts->cap == 0 ? 16 : 2 * cuts->cap;
        struct pc_cut *list = enif_realloc(cuts->list, cap * sizeof *list);
        if (list == NULL) {
            return no_memory(e);
        }
        cuts->list = list;
        cuts->cap = cap;
    }
    cuts->list[cuts->n++] = (struct pc_cut){.at = w->len, .binary = binary};
    cuts->bytes += n;
    w->max -= n;
    if (w->cap > w->max) {
        w->cap = w->max;
    }
    return written(e);
}

static inline enum pc_status encode_text_atom(struct encoder *e, ERL_NIF_TERM atom) {
    size_t slot = slot_of(atom);
    size_t at = e->w->len;
    if (!repeat(e, atom, slot)) {
        if (!pc_term_write_atom(e->env, e->w, atom, e->opts->atoms == PC_ATOMS_STRING)) {
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
    } else if (e->opts->finite) {
        return encode_text_atom(e, atom);
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
        if (e->budget != NULL && pc_term_is_huge_integer(term)) {
            return PC_BUDGET;
        }
        if (!pc_term_write_bigint(e->env, e->w, term)) {
            return no_memory(e);
        }
        e->units -= BIGINT_COST + (int64_t)((e->w->len - before) / PC_COPIED_PER_UNIT);
    }
    return written(e);
}

static inline enum pc_status encode_float(struct encoder *e, ERL_NIF_TERM term) {
    double value;
    (void)enif_get_double(e->env, term, &value);
    pc_write_double(e->w, value);
    return written(e);
}

static inline bool is_cut(const struct encoder *e, size_t n) {
    return e->opts->cuts != NULL && n >= e->opts->cuts->least;
}

/* Whether a binary is one for shared memory. */
static inline bool is_apart(const struct encoder *e, size_t n) {
    return e->opts->outgo != NULL && n >= PC_SEGMENT_LEAST && e->keys == 0;
}

/* Before n bytes are looked at or copied. */
static inline enum pc_status pay_for_bytes(struct encoder *e, size_t n, bool is_text) {
    if (is_text) {
        e->units -= (int64_t)(n / PC_CHECKED_PER_UNIT);
    }
    if (!is_cut(e, n) || e->opts->cuts->joined || is_apart(e, n)) {
        e->units -= (int64_t)(n / PC_COPIED_PER_UNIT);
    }
    return is_time_up(e) ? PC_BUDGET : PC_OK;
}

/* What stands behind a header that says how long it is. */
static inline enum pc_status write_body(struct encoder *e, ERL_NIF_TERM binary, const ErlNifBinary *bin) {
    if (is_cut(e, bin->size)) {
        return cut(e, binary, bin->size);
    }
    pc_writer_append(e->w, bin->data, bin->size);
    return written(e);
}

/* A binary and its contents, which enif_inspect_binary has found. */
static inline enum pc_status encode_bytes(struct encoder *e, ERL_NIF_TERM term, const ErlNifBinary *bin,
                                          enum pc_binaries as) {
    enum pc_status status = pay_for_bytes(e, bin->size, as != PC_BINARIES_BIN);
    if (status != PC_OK) {
        return status;
    }
    bool is_text = as != PC_BINARIES_BIN && pc_utf8_valid(bin->data, bin->size);
    if (!is_text && as == PC_BINARIES_STR) {
        return pc_term_fail(
            e->env, e->err, PC_INVALID,
            "a binary that is not valid UTF-8; wrap it with Pitcrew.bytes/1 (pitcrew:bytes/1 in Erlang) "
            "or use the option binaries: %s",
            e->opts->raw == NULL ? "bytes" : "bin");
    }
    if (is_apart(e, bin->size)) {
        bool done;
        status = pc_term_encode_apart(e, is_text ? PC_SEGMENT_STR : PC_SEGMENT_BIN, bin, &done);
        if (done) {
            return status;
        }
    }
    if (is_text) {
        pc_write_str_header(e->w, bin->size);
    } else {
        pc_write_bin_header(e->w, bin->size);
    }
    return write_body(e, term, bin);
}

#endif
