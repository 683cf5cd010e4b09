/*
 * Structs by their fields. Elixir's own definition is taken where there is one, so that what is decoded equals what
 * Elixir makes, whatever fields a version of it has; without Elixir a struct is the same map.
 */

#include <string.h>
#include <unistd.h>

#include "atoms.h"
#include "nif.h"
#include "term_private.h"

static const ERL_NIF_TERM *const names[PC_STRUCTS] = {
    [PC_STRUCT_SET] = &am_map_set,
    [PC_STRUCT_DATE] = &am_date,
    [PC_STRUCT_TIME] = &am_time,
    [PC_STRUCT_NAIVE] = &am_naive_date_time,
    [PC_STRUCT_DATETIME] = &am_date_time,
    [PC_STRUCT_DECIMAL] = &am_decimal,
    [PC_STRUCT_TENSOR] = &am_pitcrew_tensor,
    [PC_STRUCT_ARROW] = &am_pitcrew_arrow,
    [PC_STRUCT_BYTES] = &am_pitcrew_bytes,
    [PC_STRUCT_EXT] = &am_pitcrew_ext,
    [PC_STRUCT_REF] = &am_pitcrew_ref,
    [PC_STRUCT_ITERATOR] = &am_pitcrew_iterator,
};

static const ERL_NIF_TERM *const fields_of[PC_STRUCTS][PC_STRUCT_FIELDS] = {
    [PC_STRUCT_SET] = {&am_map},
    [PC_STRUCT_DATE] = {&am_calendar, &am_year, &am_month, &am_day},
    [PC_STRUCT_TIME] = {&am_calendar, &am_hour, &am_minute, &am_second, &am_microsecond},
    [PC_STRUCT_NAIVE] = {&am_calendar, &am_year, &am_month, &am_day, &am_hour, &am_minute, &am_second, &am_microsecond},
    [PC_STRUCT_DATETIME] = {&am_calendar, &am_year, &am_month, &am_day, &am_hour, &am_minute, &am_second,
                            &am_microsecond, &am_time_zone, &am_zone_abbr, &am_utc_offset, &am_std_offset},
    [PC_STRUCT_DECIMAL] = {&am_sign, &am_coef, &am_exp},
    [PC_STRUCT_TENSOR] = {&am_dtype, &am_shape, &am_data},
    [PC_STRUCT_ARROW] = {&am_data},
    [PC_STRUCT_BYTES] = {&am_data},
    [PC_STRUCT_EXT] = {&am_type, &am_data},
    [PC_STRUCT_REF] = {&am_handle, &am_pool, &am_type},
    [PC_STRUCT_ITERATOR] = {&am_reduce, &am_buffer},
};

static void add_key(struct pc_template *t, ERL_NIF_TERM key, ERL_NIF_TERM value) {
    t->keys[t->n] = key;
    t->values[t->n] = value;
    t->n++;
}

static void begin_template(struct pc_template *t, enum pc_struct which) {
    t->n = 0;
    add_key(t, am_struct_key, *names[which]);
    for (size_t i = 0; i < PC_STRUCT_FIELDS && fields_of[which][i] != NULL; i++) {
        add_key(t, *fields_of[which][i], am_nil);
    }
    t->given = t->n;
}

static bool has_key(const struct pc_template *t, ERL_NIF_TERM key) {
    for (unsigned i = 0; i < t->n; i++) {
        if (t->keys[i] == key) {
            return true;
        }
    }
    return false;
}

/* What a new struct of Elixir's has beyond the fields that we know; false if it is another struct than we think. */
static bool add_others(struct pc_term_state *state, struct pc_template *t, ErlNifEnv *env, ERL_NIF_TERM map) {
    size_t size;
    ErlNifMapIterator it;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    if (!enif_get_map_size(env, map, &size) || size > PC_TEMPLATE_KEYS) {
        return false;
    }
    for (unsigned i = 0; i < t->given; i++) {
        if (!enif_get_map_value(env, map, t->keys[i], &value)) {
            return false;
        }
    }
    if (!enif_map_iterator_create(env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return false;
    }
    for (; enif_map_iterator_get_pair(env, &it, &key, &value); enif_map_iterator_next(env, &it)) {
        if (!has_key(t, key)) {
            add_key(t, key, enif_make_copy(state->env, value));
        }
    }
    enif_map_iterator_destroy(env, &it);
    return true;
}

static void make_template(struct pc_term_state *state, enum pc_struct which, ErlNifEnv *env, ERL_NIF_TERM templates) {
    struct pc_template *t = &state->templates[which];
    ERL_NIF_TERM map;
    begin_template(t, which);
    if (enif_get_map_value(env, templates, *names[which], &map) && add_others(state, t, env, map)) {
        return;
    }
    begin_template(t, which);
    if (which == PC_STRUCT_SET) {
        add_key(t, am_version, enif_make_int(state->env, 2));
    }
}

struct pc_term_state *pc_term_state_new(ErlNifEnv *env, ERL_NIF_TERM templates) {
    struct pc_term_state *state = enif_alloc(sizeof *state);
    if (state == NULL) {
        return NULL;
    }
    state->env = enif_alloc_env();
    if (state->env == NULL || getentropy(state->key, sizeof state->key) != 0 ||
        !pc_term_make_bounds(state->env, state->bounds)) {
        pc_term_state_free(state);
        return NULL;
    }
    for (int which = 0; which < PC_STRUCTS; which++) {
        make_template(state, (enum pc_struct)which, env, templates);
    }
    return state;
}

void pc_term_state_free(struct pc_term_state *state) {
    if (state == NULL) {
        return;
    }
    if (state->env != NULL) {
        enif_free_env(state->env);
    }
    enif_free(state);
}

/* In every env that there is; one that belongs to no process does not know the library it is used in. */
static const struct pc_term_state *current;

void pc_term_state_use(const struct pc_term_state *state) { current = state; }

const struct pc_term_state *pc_term_state(void) { return current; }

enum pc_struct pc_struct_find(ERL_NIF_TERM name) {
    int which = 0;
    while (which < PC_STRUCTS && *names[which] != name) {
        which++;
    }
    return (enum pc_struct)which;
}

const char *pc_struct_name(enum pc_struct which) {
    static const char *const shown[] = {
        [PC_STRUCT_SET] = "MapSet",
        [PC_STRUCT_DATE] = "Date",
        [PC_STRUCT_TIME] = "Time",
        [PC_STRUCT_NAIVE] = "NaiveDateTime",
        [PC_STRUCT_DATETIME] = "DateTime",
        [PC_STRUCT_DECIMAL] = "Decimal",
        [PC_STRUCT_TENSOR] = "Pitcrew.Tensor",
        [PC_STRUCT_ARROW] = "Pitcrew.Arrow",
        [PC_STRUCT_BYTES] = "Pitcrew.Bytes",
        [PC_STRUCT_EXT] = "Pitcrew.MessagePack.Ext",
        [PC_STRUCT_REF] = "Pitcrew.Ref",
        [PC_STRUCT_ITERATOR] = "Pitcrew.Iterator",
    };
    return shown[which];
}

bool pc_struct_make(ErlNifEnv *env, enum pc_struct which, const ERL_NIF_TERM fields[], ERL_NIF_TERM *term) {
    const struct pc_template *t = &pc_term_state()->templates[which];
    ERL_NIF_TERM keys[PC_TEMPLATE_KEYS];
    ERL_NIF_TERM values[PC_TEMPLATE_KEYS];
    memcpy(keys, t->keys, t->n * sizeof keys[0]);
    values[0] = t->values[0];
    memcpy(values + 1, fields, (t->given - 1) * sizeof values[0]);
    for (unsigned i = t->given; i < t->n; i++) {
        values[i] = enif_make_copy(env, t->values[i]);
    }
    return enif_make_map_from_arrays(env, keys, values, t->n, term) != 0;
}

bool pc_struct_fields(ErlNifEnv *env, enum pc_struct which, ERL_NIF_TERM map, ERL_NIF_TERM fields[]) {
    const struct pc_template *t = &pc_term_state()->templates[which];
    size_t size;
    if (!enif_get_map_size(env, map, &size) || size != t->n) {
        return false;
    }
    for (unsigned i = 1; i < t->given; i++) {
        if (!enif_get_map_value(env, map, t->keys[i], &fields[i - 1])) {
            return false;
        }
    }
    return true;
}
