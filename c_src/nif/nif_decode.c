/* decode/2 and decode_all/2. Small work is done inline; large work goes on on a dirty CPU scheduler, from where it has come. */

#include "atoms.h"
#include "nif.h"
#include "nif_codec.h"
#include "parcel.h"
#include "refs.h"
#include "term.h"

struct job {
    struct pc_term_opts opts;
    ErlNifBinary bin;
    struct pc_reader r;
    struct pc_term_error err;
    bool kept_raw;
    /* Of decode_all: the values so far, last first, and where the next one begins. */
    bool all;
    ERL_NIF_TERM terms;
    ErlNifUInt64 count;
    const uint8_t *start;
};

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

static bool job_init(ErlNifEnv *env, struct job *job, const ERL_NIF_TERM argv[], bool all) {
    if (!enif_inspect_binary(env, argv[0], &job->bin) || !pc_term_opts_read(env, argv[1], &job->opts)) {
        return false;
    }
    pc_reader_init(&job->r, job->bin.data, job->bin.size);
    if (!job->opts.copy_binaries) {
        job->opts.source = argv[0];
        job->opts.origin = job->bin.data;
    }
    job->kept_raw = false;
    job->opts.kept_raw = &job->kept_raw;
    job->all = all;
    job->terms = enif_make_list_from_array(env, NULL, 0);
    job->count = 0;
    job->start = job->bin.data;
    return true;
}

/* The next value, from its beginning or from where it paused. */
static enum pc_status decode_value(ErlNifEnv *env, struct job *job, struct pc_budget *budget,
                                   struct pc_term_pause *pause, bool paused, ERL_NIF_TERM *term) {
    return paused ? pc_term_decode_on(env, &job->r, pause, &job->opts, term, &job->err)
                  : pc_term_decode_within(env, &job->r, &job->opts, budget, pause, term, &job->err);
}

static enum pc_status decode_values(ErlNifEnv *env, struct job *job, struct pc_budget *budget,
                                    struct pc_term_pause *pause, bool paused) {
    while (pc_reader_left(&job->r) > 0 || paused) {
        ERL_NIF_TERM term;
        enum pc_status status = decode_value(env, job, budget, pause, paused, &term);
        paused = false;
        if (status != PC_OK) {
            return status;
        }
        if (is_too_big(&job->opts, (size_t)(job->r.p - job->start))) {
            return PC_TOO_BIG;
        }
        job->terms = enif_make_list_cell(env, term, job->terms);
        job->start = job->r.p;
        job->count++;
    }
    return PC_OK;
}

static ERL_NIF_TERM conclude(ErlNifEnv *env, const struct job *job, enum pc_status status, ERL_NIF_TERM term) {
    if (status == PC_OK && pc_reader_left(&job->r) > 0) {
        return refuse(env, PC_INVALID, "there are bytes after the value");
    }
    if (status != PC_OK) {
        return pc_nif_codec_error(env, am_decode_error, &job->err);
    }
    if (job->opts.lease != NULL) {
        pc_lease_end(job->opts.lease);
    }
    if (job->opts.parcel != NULL) {
        pc_parcel_end(job->opts.parcel);
    }
    return enif_make_tuple2(env, job->kept_raw ? am_raw : am_ok, term);
}

/* What begins and does not end is left over. A path begins with the number of the value. */
static ERL_NIF_TERM conclude_all(ErlNifEnv *env, struct job *job, enum pc_status status) {
    size_t left = (size_t)(job->bin.data + job->bin.size - job->start);
    if (status == PC_TOO_BIG || (status == PC_TRUNCATED && is_too_big(&job->opts, left))) {
        return refuse_size(env);
    }
    if (status != PC_OK && status != PC_TRUNCATED) {
        job->err.path = enif_make_list_cell(env, enif_make_uint64(env, job->count), job->err.path);
        return pc_nif_codec_error(env, am_decode_error, &job->err);
    }
    ERL_NIF_TERM terms;
    (void)enif_make_reverse_list(env, job->terms, &terms);
    return enif_make_tuple3(env, job->kept_raw ? am_raw : am_ok, terms, enif_make_uint64(env, left));
}

/* Works on; with a budget *status may be PC_BUDGET, and there is no answer yet. */
static ERL_NIF_TERM decode(ErlNifEnv *env, struct job *job, struct pc_budget *budget, struct pc_term_pause *pause,
                           bool paused, enum pc_status *status) {
    ERL_NIF_TERM term = am_error;
    *status = job->all ? decode_values(env, job, budget, pause, paused)
                       : decode_value(env, job, budget, pause, paused, &term);
    if (*status == PC_BUDGET) {
        return am_error;
    }
    return job->all ? conclude_all(env, job, *status) : conclude(env, job, *status, term);
}

/*
 * Arguments: input, options; then, as terms, what of a job and its pause is not made from these: the pause, where the reader
 * stands, whether something was kept as it is, and of decode_all the values, where the next one begins, and their count.
 */
enum { GO_ON_ARGS = 9 };

static ERL_NIF_TERM go_on(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool all) {
    struct job job;
    struct pc_term_pause pause = {.terms = argv[2], .levels = argv[3]};
    enum pc_status status;
    ErlNifUInt64 at;
    ErlNifUInt64 start;
    if (!job_init(env, &job, argv, all) || !enif_get_uint64(env, argv[4], &at) ||
        !enif_get_uint64(env, argv[7], &start) || !enif_get_uint64(env, argv[8], &job.count)) {
        return enif_make_badarg(env);
    }
    job.r.p = job.bin.data + at;
    job.kept_raw = argv[5] == am_true;
    job.terms = argv[6];
    job.start = job.bin.data + start;
    return decode(env, &job, NULL, &pause, true, &status);
}

static ERL_NIF_TERM decode_on(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return go_on(env, argv, false);
}

static ERL_NIF_TERM decode_all_on(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return go_on(env, argv, true);
}

static ERL_NIF_TERM begin(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool all) {
    struct job job;
    struct pc_budget budget;
    struct pc_term_pause pause;
    enum pc_status status;
    if (!job_init(env, &job, argv, all)) {
        return enif_make_badarg(env);
    }
    if (!all && is_too_big(&job.opts, job.bin.size)) {
        return refuse_size(env);
    }
    pc_budget_init(&budget, job.opts.inline_units);
    ERL_NIF_TERM answer = decode(env, &job, &budget, &pause, false, &status);
    pc_budget_account(env, &budget);
    if (status != PC_BUDGET) {
        return answer;
    }
    ERL_NIF_TERM args[GO_ON_ARGS] = {
        argv[0],
        argv[1],
        pause.terms,
        pause.levels,
        enif_make_uint64(env, (ErlNifUInt64)(job.r.p - job.bin.data)),
        job.kept_raw ? am_true : am_false,
        job.terms,
        enif_make_uint64(env, (ErlNifUInt64)(job.start - job.bin.data)),
        enif_make_uint64(env, job.count),
    };
    return enif_schedule_nif(env, all ? "decode_all" : "decode", ERL_NIF_DIRTY_JOB_CPU_BOUND,
                             all ? decode_all_on : decode_on, GO_ON_ARGS, args);
}

ERL_NIF_TERM nif_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return begin(env, argv, false);
}

ERL_NIF_TERM nif_decode_all(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return begin(env, argv, true);
}
