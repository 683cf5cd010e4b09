/*
 * submit/9 and submit_json/6: a call's frame is made, and goes to the worker with the least to do or into the queue. A frame that takes
 * long is made on a dirty scheduler; everything else happens on a normal one, since the dispatcher's lock must not be held by a
 * thread that may have to wait for a processor.
 */
#include <stdlib.h>
#include <string.h>

#include "nif/atoms.h"
#include "nif/call_body.h"
#include "nif/frame.h"
#include "nif/lane.h"
#include "nif/nif.h"

enum {
    LOCAL = 2048,   /* bytes of a body that take no memory of their own */
    MOST_HEAD = 24, /* bytes of a frame in front of its body */
};

struct submission {
    struct pc_dispatcher *dispatcher;
    ERL_NIF_TERM ref;
    bool json;
    bool finish;
    struct pc_term_opts opts;
};

static ERL_NIF_TERM encode_error(ErlNifEnv *env, const struct pc_term_error *err) {
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_encode_error, err));
}

static ERL_NIF_TERM refuse(ErlNifEnv *env, enum pc_status status) {
    struct pc_term_error err = {.status = status, .path = enif_make_list(env, 0)};
    (void)pc_term_refuse(env, &err, status);
    return encode_error(env, &err);
}

/* Slots that came free before the call was in the queue: whoever freed them did not see it. */
static void lend_free(ErlNifEnv *env, struct pc_dispatcher *dispatcher) {
    struct pc_channel *c;
    unsigned index;
    while (dispatcher->slots != NULL && pc_dispatch_waits(&dispatcher->d) &&
           (c = pc_slots_take(dispatcher->slots, &index)) != NULL) {
        pc_channel_lend(env, c);
        enif_release_resource(c);
    }
}

/* Takes the body's memory if that is owned. */
static ERL_NIF_TERM submit(ErlNifEnv *env, const struct submission *s, struct pc_body *body) {
    struct pc_lane *lane;
    struct pc_job *job = pc_job_new(env, s->ref, s->finish, &s->opts);
    enum pc_submitted how = PC_SUBMIT_NO_MEMORY;
    if (job != NULL) {
        job->call.json = s->json;
        how = pc_dispatcher_submit(env, s->dispatcher, job, body, &lane);
    }
    if (how == PC_SUBMIT_OUT) {
        pc_channel_flush_lane(env, lane->channel, false);
        return am_ok;
    }
    if (how == PC_SUBMIT_READY) {
        return am_ok;
    }
    if (how == PC_SUBMIT_QUEUED) {
        lend_free(env, s->dispatcher);
        return am_queued;
    }
    if (job != NULL) {
        pc_job_drop(job);
    }
    if (body->owned) {
        free(body->data);
    }
    return how == PC_SUBMIT_OVER ? am_over : refuse(env, PC_NO_MEMORY);
}

/* ---- MessagePack */

/* From memory of the caller's, which is the writer's owner if there is any, to memory of malloc's. */
static bool grow(struct pc_writer *w, size_t need) {
    if (w->data == NULL || w->data != w->owner) {
        return pc_grow_malloc(w, need);
    }
    uint8_t *data = malloc(need);
    if (data == NULL) {
        return false;
    }
    memcpy(data, w->data, w->len);
    w->data = data;
    w->cap = need;
    return true;
}

struct packed {
    struct submission to;
    struct pc_call_terms terms;
    ErlNifUInt64 max_frame;
};

static bool packed_read(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct packed *p) {
    p->to.ref = argv[1];
    p->to.json = false;
    p->to.finish = enif_is_identical(argv[8], am_finish);
    if (!pc_dispatcher_get(env, argv[0], &p->to.dispatcher) || !enif_is_ref(env, argv[1]) ||
        !pc_call_terms_read(env, argv + 2, &p->terms) || !enif_get_uint64(env, argv[7], &p->max_frame) ||
        p->max_frame <= MOST_HEAD || p->max_frame > PC_MAX_FRAME) {
        return false;
    }
    p->to.opts = p->terms.opts;
    return true;
}

/* The body, which is in memory of malloc's unless it fits `local`. */
static enum pc_status packed_write(ErlNifEnv *env, const struct packed *p, struct pc_budget *budget, uint8_t *local,
                                   size_t local_size, struct pc_body *body, struct pc_term_error *err) {
    struct pc_writer w;
    pc_writer_init(&w, local, local_size, (size_t)p->max_frame - MOST_HEAD, grow, local);
    enum pc_status status = pc_call_body_write(env, &w, &p->terms, NULL, budget, err);
    if (status == PC_OK && w.status != PC_OK) {
        status = pc_term_refuse(env, err, w.status);
    }
    *body = (struct pc_body){.data = w.data, .n = w.len, .owned = w.data != local};
    if (status != PC_OK && body->owned) {
        free(w.data);
    }
    return status;
}

enum { SUBMIT_ARGS = 9, READY_ARGS };

/* Back on a normal scheduler with a body that was made on a dirty one: the last argument. */
static ERL_NIF_TERM submit_ready(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_frame_memory *made;
    struct submission s = {.ref = argv[1], .json = argc != READY_ARGS};
    ERL_NIF_TERM opts = s.json ? argv[3] : argv[6];
    s.finish = enif_is_identical(argv[argc - 2], am_finish);
    if (!pc_dispatcher_get(env, argv[0], &s.dispatcher) || !pc_term_opts_read(env, opts, &s.opts) ||
        !pc_frame_memory_get(env, argv[argc - 1], &made)) {
        return enif_make_badarg(env);
    }
    struct pc_body body = {.data = made->data, .n = made->n, .owned = true};
    made->data = NULL;
    return submit(env, &s, &body);
}

/* Hands the body to submit_ready. */
static ERL_NIF_TERM go_back(ErlNifEnv *env, const char *name, int argc, const ERL_NIF_TERM argv[],
                            const struct pc_body *body) {
    ERL_NIF_TERM args[READY_ARGS];
    struct pc_frame_memory *made = pc_frame_memory_make(body->data, body->n);
    if (made == NULL) {
        free(body->data);
        return refuse(env, PC_NO_MEMORY);
    }
    memcpy(args, argv, (size_t)argc * sizeof args[0]);
    args[argc] = enif_make_resource(env, made);
    enif_release_resource(made);
    return enif_schedule_nif(env, name, 0, submit_ready, argc + 1, args);
}

static ERL_NIF_TERM submit_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct packed p;
    struct pc_body body;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!packed_read(env, argv, &p)) {
        return enif_make_badarg(env);
    }
    if (packed_write(env, &p, NULL, NULL, 0, &body, &err) != PC_OK) {
        return encode_error(env, &err);
    }
    return go_back(env, "submit", argc, argv, &body);
}

ERL_NIF_TERM nif_submit(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct packed p;
    struct pc_body body;
    struct pc_budget budget;
    uint8_t local[LOCAL];
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!packed_read(env, argv, &p)) {
        return enif_make_badarg(env);
    }
    pc_budget_init(&budget, 0);
    enum pc_status status = packed_write(env, &p, &budget, local, sizeof local, &body, &err);
    pc_budget_account(env, &budget);
    switch (status) {
    case PC_OK:
        return submit(env, &p.to, &body);
    case PC_BUDGET:
        return enif_schedule_nif(env, "submit", ERL_NIF_DIRTY_JOB_CPU_BOUND, submit_dirty, argc, argv);
    default:
        return encode_error(env, &err);
    }
}

/* ---- JSON: the body is text already */

static bool json_read(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct submission *s, ErlNifBinary *text,
                      ErlNifUInt64 *max_frame) {
    s->ref = argv[1];
    s->json = true;
    s->finish = enif_is_identical(argv[5], am_finish);
    return pc_dispatcher_get(env, argv[0], &s->dispatcher) && enif_is_ref(env, argv[1]) &&
           enif_inspect_binary(env, argv[2], text) && pc_term_opts_read(env, argv[3], &s->opts) &&
           enif_get_uint64(env, argv[4], max_frame) && *max_frame > MOST_HEAD && *max_frame <= PC_MAX_FRAME;
}

static ERL_NIF_TERM submit_json_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifBinary text;
    struct pc_body body = {.owned = true};
    if (!enif_inspect_binary(env, argv[2], &text)) {
        return enif_make_badarg(env);
    }
    body.n = text.size;
    body.data = malloc(text.size);
    if (body.data == NULL) {
        return refuse(env, PC_NO_MEMORY);
    }
    memcpy(body.data, text.data, text.size);
    return go_back(env, "submit_json", argc, argv, &body);
}

ERL_NIF_TERM nif_submit_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct submission s;
    ErlNifBinary text;
    ErlNifUInt64 max_frame;
    if (!json_read(env, argv, &s, &text, &max_frame)) {
        return enif_make_badarg(env);
    }
    if (text.size > max_frame - MOST_HEAD) {
        return refuse(env, PC_TOO_BIG);
    }
    if (text.size > PC_INLINE_BYTES) {
        return enif_schedule_nif(env, "submit_json", ERL_NIF_DIRTY_JOB_CPU_BOUND, submit_json_dirty, argc, argv);
    }
    struct pc_body body = {.data = text.data, .n = text.size, .owned = false};
    return submit(env, &s, &body);
}
