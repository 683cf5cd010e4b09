/*
 * Terms to MessagePack: a recursive walk straight into the writer.
 *
 * Invariants: containers nest at most PC_MAX_DEPTH deep; each term costs a unit of the budget before work is done
 * for it; the path is built only while unwinding from a failure. Must not keep a pointer into the writer's memory
 * across a write: it moves.
 */

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "atoms.h"
#include "codec/ext.h"
#include "term_private.h"

enum {
    ATOM_SLOTS = 32,
    BYTES_PER_UNIT = 64,
};

/* Where an atom's bytes already stand in the output: map keys repeat, and the atom table is slow. */
struct atom_place {
    ERL_NIF_TERM atom;
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
    uint32_t atoms_used; /* one bit for each slot */
    struct atom_place atoms[ATOM_SLOTS];
};

static enum pc_status encode_term(struct encoder *e, ERL_NIF_TERM term);

static enum pc_status unsupported(struct encoder *e, const char *what) {
    return pc_term_fail(e->env, e->err, PC_INVALID, "%s cannot be encoded", what);
}

static enum pc_status no_memory(struct encoder *e) {
    return pc_term_fail(e->env, e->err, PC_NO_MEMORY, "%s", pc_status_text(PC_NO_MEMORY));
}

/* PC_BUDGET is no error, only a change of place: it needs no path. */
static enum pc_status unwind(struct encoder *e, enum pc_status status, ERL_NIF_TERM step) {
    return status == PC_BUDGET ? status : pc_term_unwind(e->env, e->err, step);
}

static enum pc_status enter(struct encoder *e) {
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

static enum pc_status encode_text_atom(struct encoder *e, ERL_NIF_TERM atom) {
    size_t slot = (atom >> 6) % ATOM_SLOTS; /* the low bits of an immediate are its tag */
    struct atom_place *place = &e->atoms[slot];
    uint32_t bit = UINT32_C(1) << slot;
    if ((e->atoms_used & bit) != 0 && place->atom == atom) {
        uint8_t *copy = pc_writer_claim(e->w, place->n);
        if (copy != NULL) {
            memcpy(copy, e->w->data + place->at, place->n);
        }
        return written(e);
    }
    size_t at = e->w->len;
    if (!pc_term_write_atom(e->env, e->w, atom)) {
        return no_memory(e);
    }
    *place = (struct atom_place){.atom = atom, .at = at, .n = e->w->len - at};
    e->atoms_used |= bit;
    return written(e);
}

static enum pc_status encode_atom(struct encoder *e, ERL_NIF_TERM atom) {
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

static enum pc_status encode_integer(struct encoder *e, ERL_NIF_TERM term) {
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

static enum pc_status encode_float(struct encoder *e, ERL_NIF_TERM term) {
    double value;
    (void)enif_get_double(e->env, term, &value);
    pc_write_double(e->w, value);
    return written(e);
}

static enum pc_status encode_binary(struct encoder *e, ERL_NIF_TERM term, bool as_bytes) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(e->env, term, &bin)) {
        return unsupported(e, "a bitstring that is no binary");
    }
    e->units -= (int64_t)(bin.size / BYTES_PER_UNIT);
    if (e->units < 0) {
        return PC_BUDGET;
    }
    if (as_bytes) {
        pc_write_bin_header(e->w, bin.size);
    } else if (pc_utf8_valid(bin.data, bin.size)) {
        pc_write_str_header(e->w, bin.size);
    } else {
        return pc_term_fail(e->env, e->err, PC_INVALID,
                            "a binary that is not valid UTF-8; wrap it with Pitcrew.bytes/1 (pitcrew:bytes/1 in Erlang) "
                            "or use the option binaries: bytes");
    }
    pc_writer_append(e->w, bin.data, bin.size);
    return written(e);
}

/* An element of the output costs a unit, so a list that is longer than the budget need not be walked to its end. */
static enum pc_status count_list(struct encoder *e, ERL_NIF_TERM list, size_t *count) {
    ERL_NIF_TERM head;
    size_t n = 0;
    int64_t bound = e->units;
    while (enif_get_list_cell(e->env, list, &head, &list)) {
        n++;
        if (--bound < 0) {
            return PC_BUDGET;
        }
    }
    *count = n;
    return enif_is_empty_list(e->env, list) ? PC_OK : unsupported(e, "an improper list");
}

static enum pc_status encode_list(struct encoder *e, ERL_NIF_TERM list) {
    size_t n;
    enum pc_status status = count_list(e, list, &n);
    if (status != PC_OK) {
        return status;
    }
    status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    pc_write_array(e->w, n);
    ERL_NIF_TERM head;
    for (size_t i = 0; i < n; i++) {
        (void)enif_get_list_cell(e->env, list, &head, &list);
        status = encode_term(e, head);
        if (status != PC_OK) {
            return unwind(e, status, enif_make_uint64(e->env, i));
        }
    }
    e->depth--;
    return written(e);
}

static enum pc_status encode_tuple(struct encoder *e, ERL_NIF_TERM tuple) {
    int arity;
    const ERL_NIF_TERM *elements;
    (void)enif_get_tuple(e->env, tuple, &arity, &elements);
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, (size_t)arity);
    for (int i = 0; i < arity; i++) {
        status = encode_term(e, elements[i]);
        if (status != PC_OK) {
            return unwind(e, status, enif_make_int(e->env, i));
        }
    }
    pc_write_ext_end(e->w, mark, PC_EXT_TUPLE);
    e->depth--;
    return written(e);
}

static enum pc_status refuse_struct(struct encoder *e, ERL_NIF_TERM name) {
    char text[128];
    if (enif_snprintf(text, sizeof text, "%T", name) < 0) {
        text[0] = '\0';
    }
    return pc_term_fail(e->env, e->err, PC_INVALID, "the struct %s cannot be encoded; make it a map, list or binary first", text);
}

static enum pc_status encode_struct(struct encoder *e, ERL_NIF_TERM map, ERL_NIF_TERM name) {
    ERL_NIF_TERM data;
    if (name != am_pitcrew_bytes) {
        return refuse_struct(e, name);
    }
    if (!enif_get_map_value(e->env, map, am_data, &data) || !enif_is_binary(e->env, data)) {
        return unsupported(e, "a Pitcrew.Bytes whose data is no binary");
    }
    return encode_binary(e, data, true);
}

static enum pc_status encode_pairs(struct encoder *e, ErlNifMapIterator *it, ERL_NIF_TERM *struct_name) {
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    while (enif_map_iterator_get_pair(e->env, it, &key, &value)) {
        if (key == am_struct_key) {
            *struct_name = value;
            return PC_OK;
        }
        enum pc_status status = encode_term(e, key);
        if (status == PC_OK) {
            status = encode_term(e, value);
        }
        if (status != PC_OK) {
            return unwind(e, status, key);
        }
        (void)enif_map_iterator_next(e->env, it);
    }
    return PC_OK;
}

static enum pc_status encode_map(struct encoder *e, ERL_NIF_TERM map) {
    size_t n;
    ErlNifMapIterator it;
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    (void)enif_get_map_size(e->env, map, &n);
    size_t mark = e->w->len;
    pc_write_map(e->w, n);
    if (!enif_map_iterator_create(e->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return no_memory(e);
    }
    ERL_NIF_TERM struct_name = 0;
    status = encode_pairs(e, &it, &struct_name);
    enif_map_iterator_destroy(e->env, &it);
    /* The key of a struct may come last, or after a field that failed: the struct is the better story. */
    if (status != PC_OK && status != PC_BUDGET) {
        (void)enif_get_map_value(e->env, map, am_struct_key, &struct_name);
    }
    e->depth--;
    if (struct_name != 0) {
        if (e->w->status == PC_OK) {
            e->w->len = mark;
            e->atoms_used = 0; /* some may have stood behind the mark */
        }
        return encode_struct(e, map, struct_name);
    }
    return status == PC_OK ? written(e) : status;
}

static enum pc_status encode_term(struct encoder *e, ERL_NIF_TERM term) {
    if (--e->units < 0) {
        return PC_BUDGET;
    }
    switch (enif_term_type(e->env, term)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return encode_atom(e, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return encode_integer(e, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return encode_float(e, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return encode_binary(e, term, e->opts->binaries_as_bytes);
    case ERL_NIF_TERM_TYPE_LIST:
        return encode_list(e, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return encode_map(e, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return encode_tuple(e, term);
    case ERL_NIF_TERM_TYPE_PID:
        return unsupported(e, "a pid");
    case ERL_NIF_TERM_TYPE_PORT:
        return unsupported(e, "a port");
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return unsupported(e, "a reference");
    case ERL_NIF_TERM_TYPE_FUN:
        return unsupported(e, "a function");
    default:
        return unsupported(e, "a term of an unknown type");
    }
}

enum pc_status pc_term_encode(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term, const struct pc_term_opts *opts,
                              int64_t *budget, struct pc_term_error *err) {
    struct encoder e;
    e.env = env;
    e.w = w;
    e.opts = opts;
    e.err = err;
    e.units = budget != NULL ? *budget : INT64_MAX;
    e.depth = 0;
    e.atoms_used = 0;
    enum pc_status status = encode_term(&e, term);
    if (budget != NULL) {
        *budget = e.units;
    }
    return status;
}
