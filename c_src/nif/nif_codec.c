/* What encoding and decoding share: errors. */

#include "nif_codec.h"

ERL_NIF_TERM pc_nif_codec_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err) {
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, kind, err));
}
