/* decode/2 and decode_all/2. Small input is read inline; large input, or input that takes long, on a dirty CPU scheduler. */

#include "atoms.h"
#include "nif.h"
#include "nif_codec.h"
#include "term.h"

/* An error that is not inside any value. */
static ERL_NIF_TERM refuse(ErlNifEnv *env, enum pc_status status, const char *message) {
    struct pc_term_error err = {.status = status, .path = enif_make_list_from_array(env, NULL, 0)};
    (void)enif_snprintf(err.message, sizeof err.message, "%s", message);
    return pc_nif_codec_error(env, am_decode_error, &err);
}

static ERL_NIF_TERM refuse_size(ErlNifEnv *env) {
    return refuse(env, PC_TOO_BIG, "larger than the option max_size allows");
}

static bool is_too_big(const struct pc_term_opts *opts, size_t n) { return opts->max_size != 0 && n > opts->max_size; }

/* The answer of decode/2; with a budget, false when it ran out. */
static bool decode(ErlNifEnv *env, const ErlNifBinary *bin, const struct pc_term_opts *opts, int64_t *budget,
                   ERL_NIF_TERM *answer) {
    struct pc_reader r;
    struct pc_term_error err;
    ERL_NIF_TERM term;
    if (is_too_big(opts, bin->size)) {
        *answer = refuse_size(env);
        return true;
    }
    pc_reader_init(&r, bin->data, bin->size);
    enum pc_status status = pc_term_decode_within(env, &r, opts, budget, &term, &err);
    if (status == PC_OK && pc_reader_left(&r) > 0) {
        *answer = refuse(env, PC_INVALID, "there are bytes after the value");
    } else if (status == PC_OK) {
        *answer = enif_make_tuple2(env, *opts->kept_raw ? am_raw : am_ok, term);
    } else if (status != PC_BUDGET) {
        *answer = pc_nif_codec_error(env, am_decode_error, &err);
    }
    return status != PC_BUDGET;
}

/* The answer of decode_all/2, as decode has it. A path begins with the number of the value. */
static bool decode_all(ErlNifEnv *env, const ErlNifBinary *bin, const struct pc_term_opts *opts, int64_t *budget,
                       ERL_NIF_TERM *answer) {
    struct pc_reader r;
    struct pc_term_error err;
    ERL_NIF_TERM term;
    ERL_NIF_TERM terms = enif_make_list_from_array(env, NULL, 0);
    enum pc_status status = PC_OK;
    uint64_t count = 0;
    const uint8_t *start = bin->data;
    pc_reader_init(&r, bin->data, bin->size);
    while (pc_reader_left(&r) > 0 && (status = pc_term_decode_within(env, &r, opts, budget, &term, &err)) == PC_OK &&
           !is_too_big(opts, (size_t)(r.p - start))) {
        terms = enif_make_list_cell(env, term, terms);
        start = r.p;
        count++;
    }
    size_t left = (size_t)(bin->data + bin->size - start);
    if (status == PC_BUDGET) {
        return false;
    }
    if ((status == PC_OK && left > 0) || (status == PC_TRUNCATED && is_too_big(opts, left))) {
        *answer = refuse_size(env);
    } else if (status == PC_OK || status == PC_TRUNCATED) {
        (void)enif_make_reverse_list(env, terms, &terms);
        *answer = enif_make_tuple3(env, *opts->kept_raw ? am_raw : am_ok, terms, enif_make_uint64(env, left));
    } else {
        err.path = enif_make_list_cell(env, enif_make_uint64(env, count), err.path);
        *answer = pc_nif_codec_error(env, am_decode_error, &err);
    }
    return true;
}

/* Reads the arguments and does the work, all of it or, with a budget, what fits. */
static ERL_NIF_TERM decode_any(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool all, int64_t *budget, bool *finished) {
    struct pc_term_opts opts;
    ErlNifBinary bin;
    ERL_NIF_TERM answer = am_error;
    bool kept_raw = false;
    *finished = true;
    if (!enif_inspect_binary(env, argv[0], &bin) || !pc_term_opts_read(env, argv[1], &opts)) {
        return enif_make_badarg(env);
    }
    if (budget != NULL && bin.size > PC_INLINE_BYTES) {
        *finished = false;
        return answer;
    }
    opts.kept_raw = &kept_raw;
    pc_nif_set_budget(&opts, budget);
    if (!opts.copy_binaries) {
        opts.source = argv[0];
        opts.origin = bin.data;
    }
    *finished = all ? decode_all(env, &bin, &opts, budget, &answer) : decode(env, &bin, &opts, budget, &answer);
    return answer;
}

static ERL_NIF_TERM decode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    bool finished;
    (void)argc;
    return decode_any(env, argv, false, NULL, &finished);
}

static ERL_NIF_TERM decode_all_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    bool finished;
    (void)argc;
    return decode_any(env, argv, true, NULL, &finished);
}

ERL_NIF_TERM nif_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int64_t budget = PC_INLINE_UNITS;
    bool finished;
    ERL_NIF_TERM answer = decode_any(env, argv, false, &budget, &finished);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer : enif_schedule_nif(env, "decode", ERL_NIF_DIRTY_JOB_CPU_BOUND, decode_dirty, argc, argv);
}

ERL_NIF_TERM nif_decode_all(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int64_t budget = PC_INLINE_UNITS;
    bool finished;
    ERL_NIF_TERM answer = decode_any(env, argv, true, &budget, &finished);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer
                    : enif_schedule_nif(env, "decode_all", ERL_NIF_DIRTY_JOB_CPU_BOUND, decode_all_dirty, argc, argv);
}
