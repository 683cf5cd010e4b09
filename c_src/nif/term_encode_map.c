/* Maps, and finding out that one is a struct, which may show only after half of it has been written. */

#include "atoms.h"
#include "term_encoder.h"

enum { LARGE_MAP = 32 };

static enum pc_status encode_datum(struct encoder *e, ERL_NIF_TERM key) {
    e->keys++;
    enum pc_status status = pc_term_encode_value(e, key);
    e->keys--;
    return status;
}

static enum pc_status encode_key(struct encoder *e, ERL_NIF_TERM key) {
    size_t slot = slot_of(key);
    size_t at = e->w->len;
    if (repeat(e, key, slot)) {
        e->units--;
        return written(e);
    }
    size_t elsewhere = bytes_elsewhere(e);
    enum pc_status status = encode_datum(e, key);
    if (status == PC_OK && elsewhere == bytes_elsewhere(e)) {
        remember(e, key, slot, at);
    }
    return status;
}

static enum pc_status encode_pairs(struct encoder *e, ErlNifMapIterator *it, size_t n, ERL_NIF_TERM *struct_name) {
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    for (size_t left = n; left > 0 && enif_map_iterator_get_pair(e->env, it, &key, &value); left--) {
        if (key == am_struct_key) {
            *struct_name = value;
            return PC_OK;
        }
        /* The keys of a large map are data, and would only push the others out. */
        enum pc_status status = n > LARGE_MAP ? encode_datum(e, key) : encode_key(e, key);
        if (status != PC_OK) {
            return stop_here(e, status, "in a key");
        }
        status = pc_term_encode_value(e, value);
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
APART static enum pc_status refuse_twins(struct encoder *e, ERL_NIF_TERM map) {
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

enum pc_status pc_term_encode_map(struct encoder *e, ERL_NIF_TERM map) {
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
        pc_term_go_back(e, &start);
        return pc_term_encode_struct(e, map, struct_name);
    }
    if (status == PC_OK && (e->opts->atoms == PC_ATOMS_STRING || e->opts->tuples == PC_TUPLES_LIST)) {
        status = refuse_twins(e, map);
    }
    return status == PC_OK ? written(e) : status;
}
