/*
 * encode/2, encode_iov/2, decode/2 and decode_all/2. Small work is done inline; large work starts over, or starts, on a dirty CPU scheduler.
 *
 * Encoding begins in a buffer on the C stack, because most terms are small and a small binary is made fastest by one
 * copy; what outgrows it moves into an ErlNifBinary that becomes the result as it is.
 */

#include <string.h>

#include "atoms.h"
#include "nif.h"
#include "term.h"

enum {
    LOCAL_BYTES = 1024,
    UNITS_PER_PERCENT = PC_INLINE_UNITS / 50, /* a full budget is about half a time slice */
};

void pc_nif_consume(ErlNifEnv *env, int64_t units) {
    int64_t percent = units / UNITS_PER_PERCENT;
    if (percent > 0) {
        (void)enif_consume_timeslice(env, percent > 100 ? 100 : (int)percent);
    }
}

static ERL_NIF_TERM make_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err) {
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, kind, err));
}

/* The writer's memory: `local` at first, then `bin`. */
struct output {
    bool in_bin;
    ErlNifBinary bin;
    uint8_t local[LOCAL_BYTES];
};

static bool output_grow(struct pc_writer *w, size_t need) {
    struct output *out = w->owner;
    if (out->in_bin) {
        if (!enif_realloc_binary(&out->bin, need)) {
            return false;
        }
    } else {
        if (!enif_alloc_binary(need, &out->bin)) {
            return false;
        }
        out->in_bin = true;
        memcpy(out->bin.data, out->local, w->len);
    }
    w->data = out->bin.data;
    w->cap = out->bin.size;
    return true;
}

static bool output_take(ErlNifEnv *env, struct output *out, size_t n, ERL_NIF_TERM *term) {
    if (!out->in_bin) {
        unsigned char *place = enif_make_new_binary(env, n, term);
        memcpy(place, out->local, n);
        return true;
    }
    if (!enif_realloc_binary(&out->bin, n)) {
        return false;
    }
    *term = enif_make_binary(env, &out->bin);
    out->in_bin = false; /* the term owns it now */
    return true;
}

/* The output with the binaries that were left out of it, in order. */
static bool join(ErlNifEnv *env, struct output *out, size_t n, const struct pc_cuts *cuts, ERL_NIF_TERM *list) {
    ERL_NIF_TERM all;
    if (!output_take(env, out, n, &all)) {
        return false;
    }
    ERL_NIF_TERM rest = enif_make_list_from_array(env, NULL, 0);
    size_t end = n;
    for (size_t i = cuts->n; i > 0; i--) {
        const struct pc_cut *cut = &cuts->list[i - 1];
        if (cut->at < end) {
            rest = enif_make_list_cell(env, enif_make_sub_binary(env, all, cut->at, end - cut->at), rest);
        }
        rest = enif_make_list_cell(env, cut->binary, rest);
        end = cut->at;
    }
    if (end == n) {
        *list = enif_make_list_cell(env, all, rest);
    } else {
        *list = end > 0 ? enif_make_list_cell(env, enif_make_sub_binary(env, all, 0, end), rest) : rest;
    }
    return true;
}

/* The answer of encode/2, or with cuts of encode_iov/2; with a budget, false when it ran out. */
static bool encode(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_term_opts *opts, bool in_parts, int64_t *budget,
                   ERL_NIF_TERM *answer) {
    struct output out;
    struct pc_writer w;
    struct pc_cuts cuts = {.n = 0};
    struct pc_term_error err;
    ERL_NIF_TERM result;
    out.in_bin = false;
    opts->cuts = in_parts ? &cuts : NULL;
    pc_writer_init(&w, out.local, sizeof out.local, opts->max_size != 0 ? opts->max_size : SIZE_MAX, output_grow, &out);
    enum pc_status status = pc_term_encode(env, &w, term, opts, budget, &err);
    if (status == PC_OK &&
        (in_parts ? join(env, &out, w.len, &cuts, &result) : output_take(env, &out, w.len, &result))) {
        *answer = enif_make_tuple2(env, am_ok, result);
    } else if (status == PC_OK) {
        *answer = enif_raise_exception(env, am_error);
    } else if (status != PC_BUDGET) {
        *answer = make_error(env, am_encode_error, &err);
    }
    if (out.in_bin) {
        enif_release_binary(&out.bin);
    }
    if (cuts.list != NULL) {
        enif_free(cuts.list);
    }
    return status != PC_BUDGET;
}

static ERL_NIF_TERM encode_any(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool in_parts, int64_t *budget,
                               bool *finished) {
    struct pc_term_opts opts;
    ERL_NIF_TERM answer = am_error;
    if (!pc_term_opts_read(env, argv[1], &opts)) {
        *finished = true;
        return enif_make_badarg(env);
    }
    *finished = encode(env, argv[0], &opts, in_parts, budget, &answer);
    return answer;
}

static ERL_NIF_TERM encode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    bool finished;
    (void)argc;
    return encode_any(env, argv, false, NULL, &finished);
}

static ERL_NIF_TERM encode_iov_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    bool finished;
    (void)argc;
    return encode_any(env, argv, true, NULL, &finished);
}

ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int64_t budget = PC_INLINE_UNITS;
    bool finished;
    ERL_NIF_TERM answer = encode_any(env, argv, false, &budget, &finished);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer : enif_schedule_nif(env, "encode", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_dirty, argc, argv);
}

ERL_NIF_TERM nif_encode_iov(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int64_t budget = PC_INLINE_UNITS;
    bool finished;
    ERL_NIF_TERM answer = encode_any(env, argv, true, &budget, &finished);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer
                    : enif_schedule_nif(env, "encode_iov", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_iov_dirty, argc, argv);
}

/* An error that is not inside any value. */
static ERL_NIF_TERM refuse(ErlNifEnv *env, enum pc_status status, const char *message) {
    struct pc_term_error err = {.status = status, .path = enif_make_list_from_array(env, NULL, 0)};
    (void)enif_snprintf(err.message, sizeof err.message, "%s", message);
    return make_error(env, am_decode_error, &err);
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
        *answer = make_error(env, am_decode_error, &err);
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
        *answer = make_error(env, am_decode_error, &err);
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
