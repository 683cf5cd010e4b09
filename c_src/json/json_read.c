/*
 * A json_t tree to terms: a recursive walk. Lists are made from their end, so only the keys and values of open objects wait
 * on a stack, which all objects share. jansson has resolved duplicate keys, checked UTF-8 and refused what is no number.
 */

#include <string.h>

#include "json_atoms.h"
#include "json_private.h"

enum {
    LOCAL_TERMS = 128,
    SLOTS = 32,
    MOST_KNOWN_BYTES = 64,
};

/* A key that was met before: keys repeat, and one term can serve all. */
struct known {
    const char *data; /* in the tree */
    size_t n;
    ERL_NIF_TERM term;
};

struct reading {
    ErlNifEnv *env;
    const struct pc_json_opts *opts;
    struct pc_json_error *err;
    unsigned depth;
    ERL_NIF_TERM *terms;
    size_t top;
    size_t cap;
    uint32_t known_used; /* one bit for each slot */
    struct known known[SLOTS];
    ERL_NIF_TERM local[LOCAL_TERMS];
};

static enum pc_status read_value(struct reading *r, json_t *value, ERL_NIF_TERM *term);

static enum pc_status no_memory(struct reading *r) {
    return pc_json_fail(r->env, r->err, PC_NO_MEMORY, "out of memory");
}

static enum pc_status enter(struct reading *r) {
    if (r->depth == PC_MAX_DEPTH) {
        return pc_json_fail(r->env, r->err, PC_TOO_DEEP, "nested more than %d levels deep", PC_MAX_DEPTH);
    }
    r->depth++;
    return PC_OK;
}

/* Reserves m places; they begin at r->terms + *base, until the next time that places are reserved. */
static enum pc_status reserve(struct reading *r, size_t m, size_t *base) {
    size_t need = r->top + m;
    *base = r->top;
    if (need > r->cap) {
        size_t cap = need > 2 * r->cap ? need : 2 * r->cap;
        ERL_NIF_TERM *terms = enif_alloc(cap * sizeof *terms);
        if (terms == NULL) {
            return no_memory(r);
        }
        memcpy(terms, r->terms, r->top * sizeof *terms);
        if (r->terms != r->local) {
            enif_free(r->terms);
        }
        r->terms = terms;
        r->cap = cap;
    }
    r->top = need;
    return PC_OK;
}

static ERL_NIF_TERM make_text(struct reading *r, const char *data, size_t n) {
    ERL_NIF_TERM term;
    memcpy(enif_make_new_binary(r->env, n, &term), data, n);
    return term;
}

static size_t slot_of(const char *data, size_t n) {
    size_t hash = n;
    if (n > 0) {
        hash += (unsigned char)data[0] + 7U * (unsigned char)data[n / 2] + 13U * (unsigned char)data[n - 1];
    }
    return hash % SLOTS;
}

static ERL_NIF_TERM make_key(struct reading *r, const char *data, size_t n) {
    if (n > MOST_KNOWN_BYTES) {
        return make_text(r, data, n);
    }
    size_t slot = slot_of(data, n);
    struct known *known = &r->known[slot];
    if ((r->known_used >> slot & 1) != 0 && known->n == n && memcmp(known->data, data, n) == 0) {
        return known->term;
    }
    *known = (struct known){.data = data, .n = n, .term = make_text(r, data, n)};
    r->known_used |= UINT32_C(1) << slot;
    return known->term;
}

static enum pc_status read_array(struct reading *r, json_t *array, ERL_NIF_TERM *term) {
    ERL_NIF_TERM list = enif_make_list_from_array(r->env, NULL, 0);
    enum pc_status status = enter(r);
    for (size_t i = json_array_size(array); status == PC_OK && i > 0; i--) {
        ERL_NIF_TERM head;
        status = read_value(r, json_array_get(array, i - 1), &head);
        if (status == PC_OK) {
            list = enif_make_list_cell(r->env, head, list);
        }
    }
    r->depth--;
    *term = list;
    return status;
}

/* Keys stand in the first n of the reserved places, values in the others, as enif_make_map_from_arrays wants them. */
static enum pc_status read_pairs(struct reading *r, json_t *object, size_t base, size_t n) {
    size_t i = 0;
    for (void *it = json_object_iter(object); it != NULL && i < n; it = json_object_iter_next(object, it), i++) {
        ERL_NIF_TERM value;
        enum pc_status status = read_value(r, json_object_iter_value(it), &value);
        if (status != PC_OK) {
            return status;
        }
        r->terms[base + i] = make_key(r, json_object_iter_key(it), json_object_iter_key_len(it));
        r->terms[base + n + i] = value;
    }
    return PC_OK;
}

static enum pc_status read_object(struct reading *r, json_t *object, ERL_NIF_TERM *term) {
    size_t n = json_object_size(object);
    size_t base;
    enum pc_status status = enter(r);
    if (status == PC_OK) {
        status = reserve(r, 2 * n, &base);
    }
    if (status == PC_OK) {
        status = read_pairs(r, object, base, n);
    }
    if (status == PC_OK) {
        (void)enif_make_map_from_arrays(r->env, r->terms + base, r->terms + base + n, n, term);
        r->top = base;
        r->depth--;
    }
    return status;
}

static enum pc_status read_value(struct reading *r, json_t *value, ERL_NIF_TERM *term) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return read_object(r, value, term);
    case JSON_ARRAY:
        return read_array(r, value, term);
    case JSON_STRING:
        *term = make_text(r, json_string_value(value), json_string_length(value));
        return PC_OK;
    case JSON_INTEGER:
        *term = enif_make_int64(r->env, json_integer_value(value));
        return PC_OK;
    case JSON_REAL:
        *term = enif_make_double(r->env, json_real_value(value));
        return PC_OK;
    case JSON_TRUE:
        *term = am_true;
        return PC_OK;
    case JSON_FALSE:
        *term = am_false;
        return PC_OK;
    case JSON_NULL:
        *term = r->opts->nil;
        return PC_OK;
    }
    return pc_json_fail(r->env, r->err, PC_INVALID, "a value of an unknown type");
}

enum pc_status pc_json_read(ErlNifEnv *env, json_t *value, const struct pc_json_opts *opts, ERL_NIF_TERM *term,
                            struct pc_json_error *err) {
    struct reading r;
    r.env = env;
    r.opts = opts;
    r.err = err;
    r.depth = 0;
    r.terms = r.local;
    r.top = 0;
    r.cap = LOCAL_TERMS;
    r.known_used = 0;
    enum pc_status status = read_value(&r, value, term);
    if (r.terms != r.local) {
        enif_free(r.terms);
    }
    return status;
}
