#ifndef PC_NIF_NIF_CODEC_H
#define PC_NIF_NIF_CODEC_H

/* What nif_encode.c and nif_decode.c share. */

#include "atoms.h"
#include "term.h"

/* {error, codec_error()} */
ERL_NIF_TERM pc_nif_codec_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err);

#endif
