/* What encoding and decoding share: the account of their work, and errors. */

#include "nif_codec.h"

#include "atoms.h"
#include "nif.h"

enum {
    UNITS_PER_PERCENT = PC_INLINE_UNITS / 50, /* a full budget is about half a time slice */
};

void pc_nif_consume(ErlNifEnv *env, int64_t units) {
    int64_t percent = units / UNITS_PER_PERCENT;
    if (percent > 0) {
        (void)enif_consume_timeslice(env, percent > 100 ? 100 : (int)percent);
    }
}

void pc_nif_set_budget(const struct pc_term_opts *opts, int64_t *budget) {
    if (budget != NULL && opts->inline_units != 0) {
        *budget = (int64_t)opts->inline_units;
    }
}

ERL_NIF_TERM pc_nif_codec_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err) {
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, kind, err));
}
