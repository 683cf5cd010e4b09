/*
 * encode/4 and decode/4. Decoding small text is done inline, of more on a dirty CPU scheduler. Encoding does not know how much
 * there is to do, so it starts inline within a budget and starts over on a dirty one when that runs out.
 */

#include "nif_json.h"

#include "json_atoms.h"
#include "json_private.h"

enum {
    /*
     * Text that is decoded inline, in bytes. The costliest text (arrays and objects with nothing in them) takes about 45 ns
     * for each byte with all that belongs to it, so this is less than half a millisecond.
     */
    INLINE_BYTES = 8 * 1024,
    DECODE_COST = 30, /* nanoseconds for a byte, as most text is */
    /*
     * Nanoseconds, by estimates that are a little too high. The first is for a whole encoding and paid while the tree is built;
     * the second stops a dump that takes much longer than was expected, because so many characters must be escaped.
     */
    BUILD_BUDGET = 600 * 1000,
    DUMP_BUDGET = 400 * 1000,
    MOST_INDENT = 31,
    NS_PER_PERCENT = 10 * 1000, /* of a time slice of 1 ms */
};

/* Tells the scheduler about work done on it; at most a whole time slice is taken. */
static void consume(ErlNifEnv *env, int64_t ns) {
    int64_t percent = ns / NS_PER_PERCENT;
    if (percent > 0) {
        (void)enif_consume_timeslice(env, percent > 100 ? 100 : (int)percent);
    }
}

static ERL_NIF_TERM make_ok(ErlNifEnv *env, ERL_NIF_TERM term) { return enif_make_tuple2(env, am_ok, term); }

static ERL_NIF_TERM make_error(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_json_error *err) {
    return enif_make_tuple2(env, am_error, pc_json_error_make(env, kind, err));
}

static bool is_nil(ERL_NIF_TERM atom) { return atom == am_nil || atom == am_undefined || atom == am_null; }

struct encode_args {
    struct pc_json_opts opts;
    size_t flags;
};

static bool get_encode_args(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct encode_args *args) {
    int indent;
    if (argc != 4 || !is_nil(argv[1]) || !enif_get_int(env, argv[2], &indent) || indent < 0 || indent > MOST_INDENT ||
        (argv[3] != am_true && argv[3] != am_false)) {
        return false;
    }
    args->opts.nil = argv[1];
    args->flags = (indent > 0 ? JSON_INDENT((size_t)indent) : JSON_COMPACT) | (argv[3] == am_true ? JSON_SORT_KEYS : 0);
    return true;
}

/* The text of a tree as a binary; PC_BUDGET if it took too long. */
static enum pc_status dump(ErlNifEnv *env, const json_t *value, size_t flags, int64_t budget, ERL_NIF_TERM *binary) {
    struct pc_json_text text;
    pc_json_text_init(&text, budget);
    enum pc_status status = pc_json_dump(value, flags, &text);
    if (status == PC_OK && !pc_json_text_take(env, &text, binary)) {
        status = PC_NO_MEMORY;
    }
    pc_json_text_free(&text);
    return status;
}

/* The answer of encode/4; with a budget, false when it ran out. */
static bool encode(ErlNifEnv *env, ERL_NIF_TERM term, const struct encode_args *args, int64_t *budget,
                   ERL_NIF_TERM *answer) {
    struct pc_json_error err;
    ERL_NIF_TERM binary;
    json_t *value;
    enum pc_status status = pc_json_build(env, term, &args->opts, budget, &value, &err);
    if (status == PC_OK) {
        status = dump(env, value, args->flags, budget != NULL ? DUMP_BUDGET : INT64_MAX, &binary);
        json_decref(value);
        if (status == PC_NO_MEMORY) {
            (void)pc_json_fail(env, &err, status, "out of memory");
        }
    }
    if (status == PC_OK) {
        *answer = make_ok(env, binary);
    } else if (status != PC_BUDGET) {
        *answer = make_error(env, am_encode_error, &err);
    }
    return status != PC_BUDGET;
}

static ERL_NIF_TERM encode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct encode_args args;
    ERL_NIF_TERM answer;
    if (!get_encode_args(env, argc, argv, &args) || !encode(env, argv[0], &args, NULL, &answer)) {
        return enif_make_badarg(env);
    }
    return answer;
}

ERL_NIF_TERM nif_json_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct encode_args args;
    ERL_NIF_TERM answer;
    int64_t budget = BUILD_BUDGET;
    if (!get_encode_args(env, argc, argv, &args)) {
        return enif_make_badarg(env);
    }
    bool finished = encode(env, argv[0], &args, &budget, &answer);
    consume(env, BUILD_BUDGET - budget);
    return finished ? answer : enif_schedule_nif(env, "encode", ERL_NIF_DIRTY_JOB_CPU_BOUND, encode_dirty, argc, argv);
}

static ERL_NIF_TERM decode_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifBinary bin;
    if (argc != 4 || !enif_inspect_binary(env, argv[0], &bin) || !is_nil(argv[1]) ||
        (argv[2] != am_last && argv[2] != am_error) || (argv[3] != am_float && argv[3] != am_error)) {
        return enif_make_badarg(env);
    }
    struct pc_json_opts opts = {.nil = argv[1]};
    struct pc_json_load_opts load_opts = {.refuse_duplicates = argv[2] == am_error,
                                          .widen_big_integers = argv[3] == am_float};
    struct pc_json_error err;
    ERL_NIF_TERM term;
    json_t *value = NULL;
    enum pc_status status = pc_json_load(env, (const char *)bin.data, bin.size, &load_opts, &value, &err);
    if (status == PC_OK) {
        status = pc_json_read(env, value, &opts, &term, &err);
        json_decref(value);
    }
    return status == PC_OK ? make_ok(env, term) : make_error(env, am_decode_error, &err);
}

ERL_NIF_TERM nif_json_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(env, argv[0], &bin)) {
        return enif_make_badarg(env);
    }
    if (bin.size > INLINE_BYTES) {
        return enif_schedule_nif(env, "decode", ERL_NIF_DIRTY_JOB_CPU_BOUND, decode_dirty, argc, argv);
    }
    consume(env, (int64_t)bin.size * DECODE_COST);
    return decode_dirty(env, argc, argv);
}
