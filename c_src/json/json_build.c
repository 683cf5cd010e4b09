/*
 * Terms to a json_t tree: a recursive walk.
 *
 * Invariants: containers nest at most PC_MAX_DEPTH deep; work is paid from the budget before it is done; a container
 * that cannot be finished is freed by the function that made it; the path is built only while unwinding from a failure.
 */

#include <string.h>

#include "json_atoms.h"
#include "json_builder.h"

enum { MOST_SHOWN = 100 };

/* For what has a buffer: in a frame of the recursion it would be there PC_MAX_DEPTH times. */
#define NOT_INLINE __attribute__((noinline))

static enum pc_status build(struct builder *b, ERL_NIF_TERM term, json_t **value);

static enum pc_status enter(struct builder *b) {
    if (b->depth == PC_MAX_DEPTH) {
        return pc_json_fail(b->env, b->err, PC_TOO_DEEP, "nested more than %d levels deep", PC_MAX_DEPTH);
    }
    b->depth++;
    return pay(b, CONTAINER_COST);
}

static enum pc_status build_elements(struct builder *b, ERL_NIF_TERM list, json_t *array) {
    ERL_NIF_TERM head;
    for (uint64_t i = 0; enif_get_list_cell(b->env, list, &head, &list); i++) {
        json_t *element = NULL;
        enum pc_status status = build(b, head, &element);
        if (status == PC_OK && json_array_append_new(array, element) != 0) {
            element = NULL; /* taken all the same */
            status = no_memory(b);
        }
        if (status != PC_OK) {
            json_decref(element);
            return unwind(b, status, enif_make_uint64(b->env, i));
        }
    }
    return enif_is_empty_list(b->env, list) ? PC_OK : refuse(b, "an improper list has no place in JSON");
}

static enum pc_status build_list(struct builder *b, ERL_NIF_TERM list, json_t **value) {
    enum pc_status status = enter(b);
    if (status != PC_OK) {
        return status;
    }
    *value = json_array();
    status = made(b, *value);
    if (status == PC_OK) {
        status = build_elements(b, list, *value);
    }
    b->depth--;
    return status;
}

/* How many bytes of a key a message shows: whole characters. */
static int shown(const char *key, size_t n) {
    size_t most = n > MOST_SHOWN ? MOST_SHOWN : n;
    while (most < n && ((unsigned char)key[most] & 0xc0) == 0x80) {
        most--;
    }
    return (int)most;
}

/* A text and an atom are the only two terms that can be one key. */
static enum pc_status refuse_twin(struct builder *b, const char *key, size_t n) {
    int most = shown(key, n);
    return pc_json_fail(b->env, b->err, PC_INVALID,
                        "the keys <<\"%.*s\">> and '%.*s' of one map, a binary and an atom, are the same key in JSON",
                        most, key, most, key);
}

static enum pc_status get_key(struct builder *b, ERL_NIF_TERM key, char text[PC_JSON_ATOM_BYTES], const char **data,
                              size_t *n) {
    ErlNifBinary bin;
    enum pc_status status = PC_OK;
    if (enif_is_atom(b->env, key)) {
        *data = text;
        status = pc_json_get_atom_text(b, key, text, n);
    } else if (enif_is_binary(b->env, key)) {
        status = pc_json_get_text(b, key, &bin);
        *data = (const char *)bin.data;
        *n = bin.size;
    } else {
        status = refuse(b, "a key that is neither a binary nor an atom has no place in JSON");
    }
    if (status == PC_OK && memchr(*data, '\0', *n) != NULL) {
        return refuse(b, "a key with a NUL character has no place in JSON here");
    }
    return status;
}

/* Puts a value, which is stolen, under a key of an object that has `count` keys. */
NOT_INLINE static enum pc_status build_key(struct builder *b, ERL_NIF_TERM key, json_t *value, json_t *object,
                                           size_t count) {
    char text[PC_JSON_ATOM_BYTES];
    const char *data = text;
    size_t n = 0;
    enum pc_status status = get_key(b, key, text, &data, &n);
    if (status != PC_OK) {
        json_decref(value);
        return unwind(b, status, key);
    }
    if (json_object_setn_new_nocheck(object, data, n, value) != 0) {
        return no_memory(b);
    }
    return json_object_size(object) == count + 1 ? PC_OK : refuse_twin(b, data, n);
}

static enum pc_status build_pair(struct builder *b, ERL_NIF_TERM key, ERL_NIF_TERM term, json_t *object, size_t count) {
    json_t *value = NULL;
    enum pc_status status = build(b, term, &value);
    if (status != PC_OK) {
        json_decref(value);
        return unwind(b, status, key);
    }
    return build_key(b, key, value, object, count);
}

static enum pc_status build_pairs(struct builder *b, ERL_NIF_TERM map, json_t *object) {
    ErlNifMapIterator it;
    ERL_NIF_TERM key;
    ERL_NIF_TERM term;
    enum pc_status status = PC_OK;
    if (!enif_map_iterator_create(b->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return no_memory(b);
    }
    for (size_t n = 0; status == PC_OK && enif_map_iterator_get_pair(b->env, &it, &key, &term); n++) {
        status = build_pair(b, key, term, object, n);
        (void)enif_map_iterator_next(b->env, &it);
    }
    enif_map_iterator_destroy(b->env, &it);
    return status;
}

NOT_INLINE static enum pc_status refuse_struct(struct builder *b, ERL_NIF_TERM name) {
    char text[128];
    if (name == am_pitcrew_bytes) {
        return refuse(b, "Pitcrew.Bytes: JSON carries no bytes; write them as text, such as Base64");
    }
    if (enif_snprintf(text, sizeof text, "%T", name) < 0) {
        text[0] = '\0';
    }
    return pc_json_fail(b->env, b->err, PC_INVALID,
                        "the struct %s has no place in JSON; make it a map, list or binary first", text);
}

static enum pc_status build_map(struct builder *b, ERL_NIF_TERM map, json_t **value) {
    ERL_NIF_TERM name;
    if (enif_get_map_value(b->env, map, am_struct_key, &name)) {
        return refuse_struct(b, name);
    }
    enum pc_status status = enter(b);
    if (status != PC_OK) {
        return status;
    }
    *value = json_object();
    status = made(b, *value);
    if (status == PC_OK) {
        status = build_pairs(b, map, *value);
    }
    b->depth--;
    return status;
}

/* On failure *value may be an unfinished tree, which is the caller's to free. */
static enum pc_status build(struct builder *b, ERL_NIF_TERM term, json_t **value) {
    switch (enif_term_type(b->env, term)) {
    case ERL_NIF_TERM_TYPE_INTEGER:
        return pc_json_build_integer(b, term, value);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return pc_json_build_float(b, term, value);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return pc_json_build_text(b, term, value);
    case ERL_NIF_TERM_TYPE_ATOM:
        return pc_json_build_atom(b, term, value);
    case ERL_NIF_TERM_TYPE_LIST:
        return build_list(b, term, value);
    case ERL_NIF_TERM_TYPE_MAP:
        return build_map(b, term, value);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return refuse(b, "a tuple has no place in JSON; make it a list or a map first");
    case ERL_NIF_TERM_TYPE_FUN:
        return refuse(b, "a function has no place in JSON");
    case ERL_NIF_TERM_TYPE_PID:
        return refuse(b, "a pid has no place in JSON");
    case ERL_NIF_TERM_TYPE_PORT:
        return refuse(b, "a port has no place in JSON");
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return refuse(b, "a reference has no place in JSON");
    default:
        return refuse(b, "a term of an unknown type has no place in JSON");
    }
}

enum pc_status pc_json_build(ErlNifEnv *env, ERL_NIF_TERM term, const struct pc_json_opts *opts, int64_t *budget,
                             json_t **value, struct pc_json_error *err) {
    struct builder b = {
        .env = env, .opts = opts, .err = err, .budget = budget != NULL ? *budget : INT64_MAX, .depth = 0};
    *value = NULL;
    enum pc_status status = build(&b, term, value);
    if (status != PC_OK) {
        json_decref(*value);
        *value = NULL;
    }
    if (budget != NULL) {
        *budget = b.budget;
    }
    return status;
}
