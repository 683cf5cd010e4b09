/*
 * encode/2 and decode/2. Small work is done inline; large work starts over, or starts, on a dirty CPU scheduler.
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

/* The answer of encode/2; with a budget, false when it ran out. */
static bool encode(ErlNifEnv *env, ERL_NIF_TERM term, const struct pc_term_opts *opts, int64_t *budget,
                   ERL_NIF_TERM *answer) {
    struct output out;
    struct pc_writer w;
    struct pc_term_error err;
    ERL_NIF_TERM binary;
    out.in_bin = false;
    pc_writer_init(&w, out.local, sizeof out.local, SIZE_MAX, output_grow, &out);
    enum pc_status status = pc_term_encode(env, &w, term, opts, budget, &err);
    if (status == PC_OK && output_take(env, &out, w.len, &binary)) {
        *answer = enif_make_tuple2(env, am_ok, binary);
    } else if (status == PC_OK) {
        *answer = enif_raise_exception(env, am_error);
    } else if (status != PC_BUDGET) {
        *answer = make_error(env, am_encode_error, &err);
    }
    if (out.in_bin) {
        enif_release_binary(&out.bin);
    }
    return status != PC_BUDGET;
}

static ERL_NIF_TERM encode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    ERL_NIF_TERM answer;
    if (argc != 2 || !pc_term_opts_read(env, argv[1], &opts) || !encode(env, argv[0], &opts, NULL, &answer)) {
        return enif_make_badarg(env);
    }
    return answer;
}

ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    ERL_NIF_TERM answer;
    if (!pc_term_opts_read(env, argv[1], &opts)) {
        return enif_make_badarg(env);
    }
    int64_t budget = PC_INLINE_UNITS;
    bool finished = encode(env, argv[0], &opts, &budget, &answer);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer : enif_schedule_nif(env, "encode", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_dirty, argc, argv);
}

/* The answer of decode/2; with a budget, false when it ran out. */
static bool decode(ErlNifEnv *env, const ErlNifBinary *bin, const struct pc_term_opts *opts, int64_t *budget,
                   ERL_NIF_TERM *answer) {
    struct pc_reader r;
    struct pc_term_error err;
    ERL_NIF_TERM term;
    pc_reader_init(&r, bin->data, bin->size);
    enum pc_status status = pc_term_decode_within(env, &r, opts, budget, &term, &err);
    if (status == PC_OK && pc_reader_left(&r) > 0) {
        status = PC_INVALID;
        err = (struct pc_term_error){.status = status,
                                     .message = "there are bytes after the value",
                                     .path = enif_make_list_from_array(env, NULL, 0)};
    }
    if (status == PC_OK) {
        *answer = enif_make_tuple2(env, am_ok, term);
    } else if (status != PC_BUDGET) {
        *answer = make_error(env, am_decode_error, &err);
    }
    return status != PC_BUDGET;
}

static ERL_NIF_TERM decode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    ErlNifBinary bin;
    ERL_NIF_TERM answer;
    if (argc != 2 || !enif_inspect_binary(env, argv[0], &bin) || !pc_term_opts_read(env, argv[1], &opts) ||
        !decode(env, &bin, &opts, NULL, &answer)) {
        return enif_make_badarg(env);
    }
    return answer;
}

ERL_NIF_TERM nif_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_term_opts opts;
    ErlNifBinary bin;
    ERL_NIF_TERM answer;
    if (!enif_inspect_binary(env, argv[0], &bin) || !pc_term_opts_read(env, argv[1], &opts)) {
        return enif_make_badarg(env);
    }
    int64_t budget = PC_INLINE_UNITS;
    bool finished = bin.size <= PC_INLINE_BYTES && decode(env, &bin, &opts, &budget, &answer);
    pc_nif_consume(env, PC_INLINE_UNITS - budget);
    return finished ? answer : enif_schedule_nif(env, "decode", ERL_NIF_DIRTY_JOB_CPU_BOUND, decode_dirty, argc, argv);
}
