/* codec_opts() of pitcrew_nif.erl. */

#include "atoms.h"
#include "term.h"

static bool set_option(struct pc_term_opts *opts, ERL_NIF_TERM key, ERL_NIF_TERM value) {
    if (enif_is_identical(key, am_binaries)) {
        opts->binaries_as_bytes = enif_is_identical(value, am_bytes);
        return opts->binaries_as_bytes || enif_is_identical(value, am_str);
    }
    if (enif_is_identical(key, am_nil)) {
        opts->nil = value;
        return enif_is_identical(value, am_nil) || enif_is_identical(value, am_undefined);
    }
    return false;
}

bool pc_term_opts_read(ErlNifEnv *env, ERL_NIF_TERM map, struct pc_term_opts *opts) {
    size_t size;
    if (!enif_get_map_size(env, map, &size)) {
        return false;
    }
    opts->binaries_as_bytes = false;
    opts->nil = am_nil;
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
        good = set_option(opts, key, value);
    }
    enif_map_iterator_destroy(env, &it);
    return good;
}
