#ifndef PC_NIF_NIF_CODEC_H
#define PC_NIF_NIF_CODEC_H

/* What nif_encode.c and nif_decode.c share. */

#include "term.h"

/* Lets the options set a budget, which may be NULL. */
void pc_nif_set_budget(const struct pc_term_opts *opts, int64_t *budget);

/* {error, codec_error()} */
ERL_NIF_TERM pc_nif_codec_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err);

#endif
