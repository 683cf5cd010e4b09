/*
 * Terms to MessagePack: a recursive walk straight into the writer.
 *
 * Invariants: containers nest at most PC_MAX_DEPTH deep; each term costs a unit of the budget before work is done
 * for it; the path is built only while unwinding from a failure. Must not keep a pointer into the writer's memory
 * across a write: it moves.
 */

#include "atoms.h"
#include "codec/ext.h"
#include "term_encoder.h"

enum {
    SHORT_LIST = 16,
    LARGE_MAP = 32,
};

static enum pc_status encode_term(struct encoder *e, ERL_NIF_TERM term);
static enum pc_status encode_typed(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType type);

/* Whether the list ends within SHORT_LIST - 1 elements; *count is how many were seen. */
static bool is_short(struct encoder *e, ERL_NIF_TERM list, size_t *count) {
    ERL_NIF_TERM head;
    *count = 0;
    while (*count < SHORT_LIST && enif_get_list_cell(e->env, list, &head, &list)) {
        ++*count;
    }
    return *count < SHORT_LIST;
}

/*
 * Elements of one list are mostly of one type, so the type of the one before is tried first: that saves a call of the VM
 * for each number.
 */
static enum pc_status encode_element(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType *last) {
    ErlNifSInt64 i;
    double f;
    ErlNifBinary bin;
    if (--e->units < 0) {
        return PC_BUDGET;
    }
    if (*last == ERL_NIF_TERM_TYPE_INTEGER && enif_get_int64(e->env, term, &i)) {
        pc_write_int(e->w, i);
        return written(e);
    }
    if (*last == ERL_NIF_TERM_TYPE_FLOAT && enif_get_double(e->env, term, &f)) {
        pc_write_double(e->w, f);
        return written(e);
    }
    if (*last == ERL_NIF_TERM_TYPE_BITSTRING && enif_inspect_binary(e->env, term, &bin)) {
        return encode_bytes(e, &bin, e->opts->binaries_as_bytes);
    }
    *last = enif_term_type(e->env, term);
    return encode_typed(e, term, *last);
}

/* *count is how many elements there were; the rest, if it is no empty list, makes the list improper. */
static enum pc_status encode_elements(struct encoder *e, ERL_NIF_TERM list, size_t *count) {
    ErlNifTermType last = ERL_NIF_TERM_TYPE_LIST;
    ERL_NIF_TERM head;
    size_t n = 0;
    for (; enif_get_list_cell(e->env, list, &head, &list); n++) {
        enum pc_status status = encode_element(e, head, &last);
        if (status != PC_OK) {
            return unwind(e, status, enif_make_uint64(e->env, n));
        }
    }
    *count = n;
    return enif_is_empty_list(e->env, list) ? PC_OK : unsupported(e, "an improper list");
}

static enum pc_status encode_list(struct encoder *e, ERL_NIF_TERM list) {
    size_t n;
    size_t mark = 0;
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    bool counted = is_short(e, list, &n);
    if (counted) {
        pc_write_array(e->w, n);
    } else {
        mark = pc_write_array_begin(e->w);
    }
    status = encode_elements(e, list, &n);
    if (status != PC_OK) {
        return status;
    }
    if (!counted && pc_write_array_end(e->w, mark, n)) {
        e->places_used = 0; /* they have moved */
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
    return pc_term_fail(e->env, e->err, PC_INVALID,
                        "the struct %s cannot be encoded; make it a map, list or binary first", text);
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

static enum pc_status encode_key(struct encoder *e, ERL_NIF_TERM key) {
    size_t slot = slot_of(key);
    size_t at = e->w->len;
    if (repeat(e, key, slot)) {
        e->units--;
        return written(e);
    }
    enum pc_status status = encode_term(e, key);
    if (status == PC_OK) {
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
        enum pc_status status = n > LARGE_MAP ? encode_term(e, key) : encode_key(e, key);
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
    status = encode_pairs(e, &it, n, &struct_name);
    enif_map_iterator_destroy(e->env, &it);
    /* The key of a struct may come last, or after a field that failed: the struct is the better story. */
    if (status != PC_OK && status != PC_BUDGET) {
        (void)enif_get_map_value(e->env, map, am_struct_key, &struct_name);
    }
    e->depth--;
    if (struct_name != 0) {
        if (e->w->status == PC_OK) {
            e->w->len = mark;
            e->places_used = 0; /* some may have stood behind the mark */
        }
        return encode_struct(e, map, struct_name);
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

static enum pc_status encode_term(struct encoder *e, ERL_NIF_TERM term) {
    if (--e->units < 0) {
        return PC_BUDGET;
    }
    return encode_typed(e, term, enif_term_type(e->env, term));
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
    e.places_used = 0;
    enum pc_status status = encode_term(&e, term);
    if (budget != NULL) {
        *budget = e.units;
    }
    return status;
}
