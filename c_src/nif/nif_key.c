/* term_key/3 and term_weight/1: what the cache asks of terms. Beyond the budget both start over on a dirty CPU scheduler. */

#include <string.h>

#include "atoms.h"
#include "nif.h"
#include "term_key.h"

static ERL_NIF_TERM outcome(ErlNifEnv *env, enum pc_status status, ERL_NIF_TERM term) {
    switch (status) {
    case PC_OK:
        return term;
    case PC_NO_MEMORY:
        return enif_raise_exception(env, am_no_memory);
    default:
        return am_none;
    }
}

static ERL_NIF_TERM key_of(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    ErlNifBinary key;
    ERL_NIF_TERM binary;
    uint8_t tag[PC_SIPHASH_TAG];
    (void)argc;
    if (!enif_inspect_binary(env, argv[1], &key) || key.size != PC_SIPHASH_KEY) {
        return enif_make_badarg(env);
    }
    enum pc_status status = pc_term_key(env, argv[0], key.data, budget, tag);
    if (status == PC_BUDGET) {
        return 0;
    }
    uint8_t *bytes = status == PC_OK ? enif_make_new_binary(env, sizeof tag, &binary) : NULL;
    if (bytes == NULL) {
        return outcome(env, status == PC_OK ? PC_NO_MEMORY : status, am_none);
    }
    memcpy(bytes, tag, sizeof tag);
    return binary;
}

static ERL_NIF_TERM weight_of(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    size_t bytes;
    (void)argc;
    enum pc_status status = pc_term_weight(env, argv[0], budget, &bytes);
    return status == PC_BUDGET ? 0 : outcome(env, status, enif_make_uint64(env, bytes));
}

static ERL_NIF_TERM key_at_leisure(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return key_of(env, argc, argv, NULL);
}

static ERL_NIF_TERM weight_at_leisure(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return weight_of(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_term_key(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_budget budget;
    ErlNifUInt64 units;
    if (!enif_get_uint64(env, argv[2], &units)) {
        return enif_make_badarg(env);
    }
    pc_budget_init(&budget, units);
    ERL_NIF_TERM key = key_of(env, argc, argv, &budget);
    pc_budget_account(env, &budget);
    return key != 0 ? key : enif_schedule_nif(env, "term_key", ERL_NIF_DIRTY_JOB_CPU_BOUND, key_at_leisure, argc, argv);
}

ERL_NIF_TERM nif_term_weight(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM weight = pc_budget_run(env, argc, argv, weight_of);
    return weight != 0
               ? weight
               : enif_schedule_nif(env, "term_weight", ERL_NIF_DIRTY_JOB_CPU_BOUND, weight_at_leisure, argc, argv);
}
