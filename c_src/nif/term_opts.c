/* codec_opts() of pitcrew_nif.erl. */

#include "atoms.h"
#include "parcel.h"
#include "refs.h"
#include "term.h"

/* The place of a value in a list of atoms, or -1. */
static int place_of(ERL_NIF_TERM value, const ERL_NIF_TERM *const atoms[], int n) {
    for (int i = 0; i < n; i++) {
        if (*atoms[i] == value) {
            return i;
        }
    }
    return -1;
}

#define CHOICE(value, ...)                                                                                             \
    place_of(value, (const ERL_NIF_TERM *const[]){__VA_ARGS__},                                                        \
             sizeof((const ERL_NIF_TERM *const[]){__VA_ARGS__}) / sizeof(ERL_NIF_TERM *))

static bool set_binaries(struct pc_term_opts *opts, ERL_NIF_TERM value) {
    int choice = CHOICE(value, &am_str, &am_bin, &am_auto, &am_bytes);
    static const enum pc_binaries as[] = {PC_BINARIES_STR, PC_BINARIES_BIN, PC_BINARIES_AUTO, PC_BINARIES_BIN};
    if (choice >= 0) {
        opts->binaries = as[choice];
    }
    return choice >= 0;
}

static bool set_flag(bool *flag, int choice) {
    *flag = choice == 1;
    return choice >= 0;
}

static bool set_number(ErlNifEnv *env, ERL_NIF_TERM value, size_t most, size_t *number) {
    ErlNifUInt64 n;
    if (!enif_get_uint64(env, value, &n) || n == 0 || n > most) {
        return false;
    }
    *number = (size_t)n;
    return true;
}

static bool set_raw(ErlNifEnv *env, ERL_NIF_TERM value, struct pc_term_opts *opts) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(env, value, &bin) || bin.size != PC_EXT_MASK) {
        return false;
    }
    opts->raw = bin.data;
    return true;
}

/* {Host, #{Function => Number}} */
static bool set_functions(ErlNifEnv *env, ERL_NIF_TERM value, struct pc_term_opts *opts) {
    int arity;
    const ERL_NIF_TERM *parts;
    if (!enif_get_tuple(env, value, &arity, &parts) || arity != 2 || !enif_is_pid(env, parts[0]) ||
        !enif_is_map(env, parts[1])) {
        return false;
    }
    opts->host = parts[0];
    opts->functions = parts[1];
    return true;
}

static bool set_option(ErlNifEnv *env, struct pc_term_opts *opts, ERL_NIF_TERM key, ERL_NIF_TERM value) {
    size_t depth;
    int choice;
    if (key == am_binaries) {
        return set_binaries(opts, value);
    }
    if (key == am_nil) {
        opts->nil = value;
        return CHOICE(value, &am_nil, &am_undefined, &am_null) >= 0;
    }
    if (key == am_bytes) {
        return set_flag(&opts->tagged_bytes, CHOICE(value, &am_plain, &am_tagged));
    }
    if (key == am_atoms) {
        choice = CHOICE(value, &am_ext, &am_string, &am_existing);
        opts->atoms = (enum pc_atoms)choice;
        return choice >= 0;
    }
    if (key == am_tuples) {
        choice = CHOICE(value, &am_ext, &am_list, &am_error);
        opts->tuples = (enum pc_tuples)choice;
        return choice >= 0;
    }
    if (key == am_keys) {
        return set_flag(&opts->existing_keys, CHOICE(value, &am_string, &am_existing_atom));
    }
    if (key == am_floats) {
        return set_flag(&opts->finite, CHOICE(value, &am_atoms, &am_error));
    }
    if (key == am_copy_binaries) {
        return set_flag(&opts->copy_binaries, CHOICE(value, &am_false, &am_true));
    }
    if (key == am_max_depth) {
        bool good = set_number(env, value, PC_MAX_DEPTH, &depth);
        opts->max_depth = good ? (unsigned)depth : 0;
        return good;
    }
    if (key == am_max_size) {
        return value == am_infinity || set_number(env, value, SIZE_MAX, &opts->max_size);
    }
    if (key == am_inline_units) {
        return set_number(env, value, INT32_MAX, &opts->inline_units);
    }
    if (key == am_share_least) {
        return set_number(env, value, SIZE_MAX, &opts->share_least);
    }
    if (key == am_lease) {
        return pc_lease_get(env, value, &opts->lease);
    }
    if (key == am_parcel) {
        return pc_parcel_get(env, value, &opts->parcel);
    }
    if (key == am_functions) {
        return set_functions(env, value, opts);
    }
    if (key == am_nested) {
        opts->nested = value;
        return enif_is_list(env, value);
    }
    if (key == am_timed) {
        return set_flag(&opts->timed, CHOICE(value, &am_false, &am_true));
    }
    return key == am_raw && set_raw(env, value, opts);
}

bool pc_term_opts_read(ErlNifEnv *env, ERL_NIF_TERM map, struct pc_term_opts *opts) {
    size_t size;
    if (!enif_get_map_size(env, map, &size)) {
        return false;
    }
    *opts = (struct pc_term_opts){.nil = am_nil};
    if (size == 0) {
        return true;
    }
    ErlNifMapIterator it;
    if (!enif_map_iterator_create(env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return false;
    }
    bool good = true;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    for (; good && enif_map_iterator_get_pair(env, &it, &key, &value); enif_map_iterator_next(env, &it)) {
        good = set_option(env, opts, key, value);
    }
    enif_map_iterator_destroy(env, &it);
    return good;
}
