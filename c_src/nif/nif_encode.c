/*
 * encode/2 and encode_iov/2. Small work is done inline; large work goes on, or starts over, on a dirty CPU scheduler.
 *
 * Encoding begins in a buffer on the C stack, because most terms are small and a small binary is made fastest by one
 * copy; what outgrows it moves into an ErlNifBinary that becomes the result as it is. Large binaries are left where they are:
 * for encode_iov to the end, for encode until the size of the whole is known, so that each is copied just once.
 */

#include <string.h>

#include "atoms.h"
#include "nif.h"
#include "nif_codec.h"
#include "term.h"

enum {
    LOCAL_BYTES = 1024,
    /* From how many bytes on a binary is left out of the writer. */
    PART_BYTES = 512,
    JOINED_BYTES = 2048,
};

/* The writer's memory: `local` at first, then `bin`. */
struct output {
    bool in_bin;
    ErlNifBinary bin;
    uint8_t local[LOCAL_BYTES];
};

struct job {
    struct pc_term_opts opts;
    struct pc_cuts cuts;
    struct pc_writer w;
    struct pc_term_error err;
    struct output out;
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

static void output_free(struct output *out) {
    if (out->in_bin) {
        enif_release_binary(&out->bin);
    }
}

/* The writer's bytes as a term. */
static bool take_output(ErlNifEnv *env, struct job *job, ERL_NIF_TERM *term) {
    struct output *out = &job->out;
    size_t n = job->w.len;
    if (!out->in_bin) {
        return pc_term_make_binary(env, out->local, n, term);
    }
    if (!enif_realloc_binary(&out->bin, n)) {
        return false;
    }
    *term = enif_make_binary(env, &out->bin);
    out->in_bin = false; /* the term owns it now */
    return true;
}

/* The output and the binaries that were left out of it, in order, as a list. */
static bool list_parts(ErlNifEnv *env, struct job *job, ERL_NIF_TERM *list) {
    ERL_NIF_TERM all;
    if (!take_output(env, job, &all)) {
        return false;
    }
    ERL_NIF_TERM rest = enif_make_list_from_array(env, NULL, 0);
    size_t n = job->w.len;
    size_t end = n;
    for (size_t i = job->cuts.n; i > 0; i--) {
        const struct pc_cut *cut = &job->cuts.list[i - 1];
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

/* The same as one binary. */
static bool join_parts(ErlNifEnv *env, struct job *job, ERL_NIF_TERM *binary) {
    if (job->cuts.n == 0) {
        return take_output(env, job, binary);
    }
    uint8_t *to = enif_make_new_binary(env, job->w.len + job->cuts.bytes, binary);
    if (to == NULL) {
        return false;
    }
    size_t from = 0;
    for (size_t i = 0; i < job->cuts.n; i++) {
        const struct pc_cut *cut = &job->cuts.list[i];
        ErlNifBinary bin;
        memcpy(to, job->w.data + from, cut->at - from);
        to += cut->at - from;
        from = cut->at;
        (void)enif_inspect_binary(env, cut->binary, &bin);
        memcpy(to, bin.data, bin.size);
        to += bin.size;
    }
    memcpy(to, job->w.data + from, job->w.len - from);
    return true;
}

static bool job_init(ErlNifEnv *env, struct job *job, ERL_NIF_TERM opts, bool in_parts) {
    if (!pc_term_opts_read(env, opts, &job->opts)) {
        return false;
    }
    size_t max = job->opts.max_size != 0 ? job->opts.max_size : SIZE_MAX;
    job->cuts = (struct pc_cuts){.least = in_parts ? PART_BYTES : JOINED_BYTES, .joined = !in_parts};
    job->opts.cuts = &job->cuts;
    job->out.in_bin = false;
    pc_writer_init(&job->w, job->out.local, sizeof job->out.local, max, output_grow, &job->out);
    return true;
}

static void job_destroy(struct job *job) {
    output_free(&job->out);
    enif_free(job->cuts.list);
}

/* What came of it, as {ok, _} or {error, _}. */
static ERL_NIF_TERM conclude(ErlNifEnv *env, struct job *job, enum pc_status status) {
    ERL_NIF_TERM result;
    ERL_NIF_TERM answer;
    if (status != PC_OK) {
        answer = pc_nif_codec_error(env, am_encode_error, &job->err);
    } else if (job->cuts.joined ? join_parts(env, job, &result) : list_parts(env, job, &result)) {
        answer = enif_make_tuple2(env, am_ok, result);
    } else {
        answer = enif_raise_exception(env, am_error);
    }
    job_destroy(job);
    return answer;
}

/* ---- Between two schedulers */

/*
 * An encoding that was begun. Its memory is no binary of the VM meanwhile, which would be counted as garbage to come and have the
 * process collected, with the whole term that is being encoded.
 */
struct suspended {
    bool is_taken; /* nothing is here any more */
    struct output out;
    size_t len;
    struct pc_cuts cuts; /* their terms are in the arguments of the call that goes on */
};

static ErlNifResourceType *suspended_type;

static void suspended_dtor(ErlNifEnv *env, void *object) {
    struct suspended *s = object;
    if (!s->is_taken) {
        output_free(&s->out);
        enif_free(s->cuts.list);
        atomic_fetch_sub(&pc_nif_state(env)->suspended, 1);
    }
}

int pc_encode_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = suspended_dtor, .members = 1};
    suspended_type = enif_init_resource_type(env, "pitcrew_suspended", &init, flags, NULL);
    return suspended_type == NULL ? -1 : 0;
}

/* Moves what the job has into a handle. False, with nothing moved, when out of memory. */
static bool put_aside(ErlNifEnv *env, struct job *job, ERL_NIF_TERM *handle, ERL_NIF_TERM *binaries) {
    struct suspended *s = enif_alloc_resource(suspended_type, sizeof *s);
    if (s == NULL) {
        return false;
    }
    *s = (struct suspended){.out = job->out, .len = job->w.len, .cuts = job->cuts};
    atomic_fetch_add(&pc_nif_state(env)->suspended, 1);
    *binaries = enif_make_list_from_array(env, NULL, 0);
    for (size_t i = job->cuts.n; i > 0; i--) {
        *binaries = enif_make_list_cell(env, job->cuts.list[i - 1].binary, *binaries);
    }
    *handle = enif_make_resource(env, s);
    enif_release_resource(s);
    return true;
}

/* Moves it into a job that has just been initialized. */
static bool take_up(ErlNifEnv *env, struct job *job, ERL_NIF_TERM handle, ERL_NIF_TERM binaries) {
    struct suspended *s;
    if (!enif_get_resource(env, handle, suspended_type, (void **)&s) || s->is_taken) {
        return false;
    }
    s->is_taken = true;
    atomic_fetch_sub(&pc_nif_state(env)->suspended, 1);
    job->out = s->out;
    job->cuts = s->cuts;
    pc_writer_init(&job->w, job->out.in_bin ? job->out.bin.data : job->out.local,
                   job->out.in_bin ? job->out.bin.size : sizeof job->out.local, job->w.max - job->cuts.bytes,
                   output_grow, &job->out);
    job->w.len = s->len;
    for (size_t i = 0; i < job->cuts.n; i++) {
        (void)enif_get_list_cell(env, binaries, &job->cuts.list[i].binary, &binaries);
    }
    return true;
}

/* Arguments: term, options, whether in parts; the rest of the list, the count of elements before it, what put_aside made. */
enum { GO_ON_ARGS = 7 };

static ERL_NIF_TERM go_on(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct job job;
    ErlNifUInt64 count;
    (void)argc;
    if (!job_init(env, &job, argv[1], argv[2] == am_true) || !enif_get_uint64(env, argv[4], &count) ||
        !take_up(env, &job, argv[5], argv[6])) {
        return enif_make_badarg(env);
    }
    const struct pc_term_stop stop = {.rest = argv[3], .count = (size_t)count};
    return conclude(env, &job, pc_term_encode_on(env, &job.w, argv[0], &stop, &job.opts, &job.err));
}

static ERL_NIF_TERM start_over(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct job job;
    (void)argc;
    if (!job_init(env, &job, argv[1], argv[2] == am_true)) {
        return enif_make_badarg(env);
    }
    return conclude(env, &job, pc_term_encode(env, &job.w, argv[0], &job.opts, NULL, &job.err));
}

/* On from where it stopped, or, when that was in the midst of something, from the beginning. */
static ERL_NIF_TERM suspend(ErlNifEnv *env, struct job *job, const struct pc_term_stop *stop,
                            const ERL_NIF_TERM argv[]) {
    const char *name = job->cuts.joined ? "encode" : "encode_iov";
    ERL_NIF_TERM args[GO_ON_ARGS] = {argv[0], argv[1], job->cuts.joined ? am_false : am_true};
    if (stop->count > 0 && put_aside(env, job, &args[5], &args[6])) {
        args[3] = stop->rest;
        args[4] = enif_make_uint64(env, stop->count);
        return enif_schedule_nif(env, name, ERL_NIF_DIRTY_JOB_CPU_BOUND, go_on, GO_ON_ARGS, args);
    }
    job_destroy(job);
    return enif_schedule_nif(env, name, ERL_NIF_DIRTY_JOB_CPU_BOUND, start_over, 3, args);
}

/* ---- On a normal scheduler */

static ERL_NIF_TERM encode(ErlNifEnv *env, const ERL_NIF_TERM argv[], bool in_parts) {
    struct job job;
    struct pc_budget budget;
    struct pc_term_stop stop;
    if (!job_init(env, &job, argv[1], in_parts)) {
        return enif_make_badarg(env);
    }
    pc_budget_init(&budget, job.opts.inline_units);
    enum pc_status status = pc_term_encode_until(env, &job.w, argv[0], &job.opts, &budget, &stop, &job.err);
    pc_budget_account(env, &budget);
    return status == PC_BUDGET ? suspend(env, &job, &stop, argv) : conclude(env, &job, status);
}

ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return encode(env, argv, false);
}

ERL_NIF_TERM nif_encode_iov(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return encode(env, argv, true);
}
