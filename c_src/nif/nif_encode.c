/*
 * encode/2 and encode_iov/2. Small work is done inline; large work goes on, or starts over, on a dirty CPU scheduler.
 *
 * Encoding begins in a buffer on the C stack, because most terms are small and a small binary is made fastest by one
 * copy; what outgrows it moves into an ErlNifBinary that becomes the result as it is.
 */

#include <string.h>

#include "atoms.h"
#include "nif.h"
#include "nif_codec.h"
#include "term.h"

enum {
    LOCAL_BYTES = 1024,
    MOST_AHEAD = 8, /* times what is written already is the most that is reserved for the rest */
};

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

/* What came of an encoding, as {ok, _} or {error, _}, which is nothing after PC_BUDGET; gives the output's memory back. */
static ERL_NIF_TERM conclude(ErlNifEnv *env, struct output *out, const struct pc_writer *w, const struct pc_cuts *cuts,
                             enum pc_status status, const struct pc_term_error *err) {
    ERL_NIF_TERM result;
    ERL_NIF_TERM answer;
    if (status == PC_OK &&
        (cuts != NULL ? join(env, out, w->len, cuts, &result) : output_take(env, out, w->len, &result))) {
        answer = enif_make_tuple2(env, am_ok, result);
    } else if (status == PC_OK) {
        answer = enif_raise_exception(env, am_error);
    } else {
        answer = status == PC_BUDGET ? am_error : pc_nif_codec_error(env, am_encode_error, err);
    }
    if (out->in_bin) {
        enif_release_binary(&out->bin);
    }
    if (cuts != NULL && cuts->list != NULL) {
        enif_free(cuts->list);
    }
    return answer;
}

static void writer_init(struct pc_writer *w, struct output *out, const struct pc_term_opts *opts) {
    out->in_bin = false;
    pc_writer_init(w, out->local, sizeof out->local, opts->max_size != 0 ? opts->max_size : SIZE_MAX, output_grow, out);
}

static ERL_NIF_TERM encode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    struct output out;
    struct pc_writer w;
    struct pc_term_error err;
    (void)argc;
    if (!pc_term_opts_read(env, argv[1], &opts)) {
        return enif_make_badarg(env);
    }
    writer_init(&w, &out, &opts);
    enum pc_status status = pc_term_encode(env, &w, argv[0], &opts, NULL, &err);
    return conclude(env, &out, &w, NULL, status, &err);
}

/* Room for the whole list if its other elements are like those that are written, within reason. */
static void reserve_rest(ErlNifEnv *env, struct pc_writer *w, const struct pc_term_stop *stop) {
    unsigned others;
    if (enif_get_list_length(env, stop->rest, &others)) {
        size_t each = stop->len / stop->count + 1;
        size_t need = each * others < MOST_AHEAD * stop->len ? each * others : MOST_AHEAD * stop->len;
        (void)pc_writer_reserve(w, need < w->max - w->len ? need : 0);
    }
}

/* Term, options, and a struct pc_term_stop: the rest of the list, its bytes and the count of elements in them. */
static ERL_NIF_TERM encode_on(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    struct output out;
    struct pc_writer w;
    struct pc_term_error err;
    ErlNifBinary begun;
    ErlNifUInt64 count;
    if (argc != 5 || !pc_term_opts_read(env, argv[1], &opts) || !enif_inspect_binary(env, argv[3], &begun) ||
        !enif_get_uint64(env, argv[4], &count)) {
        return enif_make_badarg(env);
    }
    const struct pc_term_stop stop = {.rest = argv[2], .len = begun.size, .count = (size_t)count};
    writer_init(&w, &out, &opts);
    pc_writer_append(&w, begun.data, begun.size);
    reserve_rest(env, &w, &stop);
    enum pc_status status = pc_term_encode_on(env, &w, argv[0], &stop, &opts, &err);
    return conclude(env, &out, &w, NULL, status, &err);
}

/* On a dirty scheduler: on from where it stopped, or, when that was in the midst of something, from the beginning. */
static ERL_NIF_TERM encode_elsewhere(ErlNifEnv *env, struct output *out, const struct pc_term_stop *stop,
                                     const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM begun;
    if (stop->count > 0 && output_take(env, out, stop->len, &begun)) {
        ERL_NIF_TERM args[] = {argv[0], argv[1], stop->rest, begun, enif_make_uint64(env, stop->count)};
        return enif_schedule_nif(env, "encode", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_on, 5, args);
    }
    if (out->in_bin) {
        enif_release_binary(&out->bin);
    }
    return enif_schedule_nif(env, "encode", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_dirty, 2, argv);
}

ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    struct output out;
    struct pc_writer w;
    struct pc_term_stop stop;
    struct pc_term_error err;
    int64_t budget = PC_INLINE_UNITS;
    (void)argc;
    if (!pc_term_opts_read(env, argv[1], &opts)) {
        return enif_make_badarg(env);
    }
    pc_nif_set_budget(&opts, &budget);
    writer_init(&w, &out, &opts);
    enum pc_status status = pc_term_encode_until(env, &w, argv[0], &opts, &budget, &stop, &err);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return status == PC_BUDGET ? encode_elsewhere(env, &out, &stop, argv) : conclude(env, &out, &w, NULL, status, &err);
}

/* With a budget, PC_BUDGET when it ran out. */
static enum pc_status encode_parts(ErlNifEnv *env, const ERL_NIF_TERM argv[], int64_t *budget, ERL_NIF_TERM *answer) {
    struct pc_term_opts opts;
    struct output out;
    struct pc_writer w;
    struct pc_cuts cuts = {.n = 0};
    struct pc_term_error err;
    if (!pc_term_opts_read(env, argv[1], &opts)) {
        *answer = enif_make_badarg(env);
        return PC_OK;
    }
    opts.cuts = &cuts;
    pc_nif_set_budget(&opts, budget);
    writer_init(&w, &out, &opts);
    enum pc_status status = pc_term_encode(env, &w, argv[0], &opts, budget, &err);
    *answer = conclude(env, &out, &w, &cuts, status, &err);
    return status;
}

static ERL_NIF_TERM encode_iov_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM answer;
    (void)argc;
    (void)encode_parts(env, argv, NULL, &answer);
    return answer;
}

ERL_NIF_TERM nif_encode_iov(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int64_t budget = PC_INLINE_UNITS;
    ERL_NIF_TERM answer;
    enum pc_status status = encode_parts(env, argv, &budget, &answer);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    if (status != PC_BUDGET) {
        return answer;
    }
    return enif_schedule_nif(env, "encode_iov", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_iov_dirty, argc, argv);
}
