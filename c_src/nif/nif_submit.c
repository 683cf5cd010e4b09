/*
 * submit/10 and submit_json/9: a call's frame is made, and goes to the worker with the least to do or into the queue. A frame that takes
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
#include "nif/refs.h"
#include "nif/tenancy.h"
#include "wire/stream.h"

enum {
    LOCAL = 2048,   /* bytes of a body that take no memory of their own */
    MOST_HEAD = 24, /* bytes of a frame in front of its body */
};

struct request {
    struct pc_dispatcher *dispatcher;
    /* Where the call must go: a tenant's, or to the worker that has an object. */
    struct pc_tenant *tenant;
    struct pc_channel *target;
    void *holds; /* the resource that says so */
    ERL_NIF_TERM ref;
    bool json;
    bool finish;
    ErlNifSInt64 credit; /* of a stream; 0: it is none */
    struct pc_term_opts opts;
    ErlNifUInt64 max_frame;
    struct pc_call_terms terms; /* MessagePack */
    struct pc_call_texts texts; /* JSON */
};

/* The two native functions: what they are called, what they are given, and where they go on. */
struct function {
    const char *name;
    int argc;
    bool (*read)(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct request *r);
    ERL_NIF_TERM (*dirty)(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
    ERL_NIF_TERM (*ready)(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
};

static ERL_NIF_TERM encode_error(ErlNifEnv *env, const struct pc_term_error *err) {
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_encode_error, err));
}

static ERL_NIF_TERM no_memory(ErlNifEnv *env) {
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    (void)pc_term_refuse(env, &err, PC_NO_MEMORY);
    return encode_error(env, &err);
}

/* Where no call may wait, a stream or a call with functions goes straight to a slot that is free: nobody claims one for it. */
static enum pc_submitted submit_to_slot(ErlNifEnv *env, const struct request *r, struct pc_job *job,
                                        struct pc_body *body, struct pc_lane **lane) {
    struct pc_channel *c = pc_slots_take(r->dispatcher->slots);
    if (c == NULL) {
        return PC_SUBMIT_FULL;
    }
    job->call.target = c->lane;
    job->holds = c;
    enif_keep_resource(c);
    enum pc_submitted how = pc_dispatcher_submit(env, r->dispatcher, job, body, lane);
    pc_channel_lend(env, c); /* or the slot is free again */
    enif_release_resource(c);
    return how;
}

/* Takes the body's memory if that is owned. */
static ERL_NIF_TERM submit(ErlNifEnv *env, const struct request *r, struct pc_body *body) {
    struct pc_lane *lane;
    struct pc_job *job = pc_job_new(env, r->ref, r->finish, &r->opts);
    enum pc_submitted how = PC_SUBMIT_NO_MEMORY;
    if (job != NULL) {
        job->call.json = r->json;
        job->call.stream = r->credit > 0;
        job->call.credit = r->credit;
        job->call.urgent = r->opts.nested;
        job->call.tenant = r->tenant;
        job->call.target = r->target == NULL ? NULL : r->target->lane;
        job->holds = r->holds;
        if (r->holds != NULL) {
            enif_keep_resource(r->holds);
        }
        how = pc_dispatcher_submit(env, r->dispatcher, job, body, &lane);
        if (how == PC_SUBMIT_FULL && (job->call.stream || job->hosted) && r->holds == NULL &&
            r->dispatcher->slots != NULL) {
            how = submit_to_slot(env, r, job, body, &lane);
        }
    }
    switch (how) {
    case PC_SUBMIT_OUT:
        pc_channel_wear(env, lane->channel);
        pc_channel_flush_lane(env, lane->channel, false);
        return am_ok;
    case PC_SUBMIT_READY:
        return am_ok;
    case PC_SUBMIT_QUEUED:
        /* Slots that came free before the call was in the queue: whoever freed them did not see it. */
        if (r->dispatcher->slots != NULL && r->target != NULL) {
            pc_slots_lend_to(env, r->dispatcher->slots, r->target);
        } else if (r->dispatcher->slots != NULL) {
            pc_slots_lend(env, r->dispatcher->slots, &r->dispatcher->d);
        }
        return am_queued;
    default:
        break;
    }
    if (job != NULL) {
        pc_job_drop(job);
    }
    if (body->owned) {
        free(body->data);
    }
    return how == PC_SUBMIT_OVER   ? am_over
           : how == PC_SUBMIT_GONE ? am_gone
           : how == PC_SUBMIT_FULL ? am_full
                                   : no_memory(env);
}

/* ---- Bodies */

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

/* The body, which is in memory of malloc's unless it fits `local`. */
static enum pc_status write_body(ErlNifEnv *env, const struct request *r, struct pc_budget *budget, uint8_t *local,
                                 size_t local_size, struct pc_body *body, struct pc_term_error *err) {
    struct pc_writer w;
    pc_writer_init(&w, local, local_size, (size_t)r->max_frame - MOST_HEAD, grow, local);
    enum pc_status status = r->json ? pc_call_texts_write(&w, &r->texts, budget)
                                    : pc_call_body_write(env, &w, &r->terms, NULL, NULL, budget, err);
    if (status == PC_OK && w.status != PC_OK) {
        status = pc_term_refuse(env, err, w.status);
    }
    *body = (struct pc_body){.data = w.data, .n = w.len, .owned = w.data != local};
    if (status != PC_OK && body->owned) {
        free(w.data);
    }
    return status;
}

/* ---- From scheduler to scheduler */

static ERL_NIF_TERM begin(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    struct pc_budget budget;
    uint8_t local[LOCAL];
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!f->read(env, argv, &r)) {
        return enif_make_badarg(env);
    }
    if (r.target != NULL && r.target->lane->dispatch != &r.dispatcher->d) {
        return am_foreign;
    }
    pc_budget_init(&budget, 0);
    enum pc_status status = write_body(env, &r, &budget, local, sizeof local, &body, &err);
    pc_budget_account(env, &budget);
    switch (status) {
    case PC_OK:
        return submit(env, &r, &body);
    case PC_BUDGET:
        return enif_schedule_nif(env, f->name, ERL_NIF_DIRTY_JOB_CPU_BOUND, f->dirty, f->argc, argv);
    default:
        return encode_error(env, &err);
    }
}

/* On a dirty scheduler: the body goes back as one more argument. */
static ERL_NIF_TERM go_on(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!f->read(env, argv, &r)) {
        return enif_make_badarg(env);
    }
    if (write_body(env, &r, NULL, NULL, 0, &body, &err) != PC_OK) {
        return encode_error(env, &err);
    }
    ERL_NIF_TERM next;
    bool goes_on = pc_frame_memory_schedule(env, f->name, f->ready, f->argc, argv, body.data, body.n, &next);
    return goes_on ? next : no_memory(env);
}

/* Back on a normal one. */
static ERL_NIF_TERM end(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    if (!f->read(env, argv, &r) || !pc_frame_memory_body(env, argv[f->argc], &body)) {
        return enif_make_badarg(env);
    }
    return submit(env, &r, &body);
}

/* ---- The functions */

/* A dispatcher, or {Dispatcher, Tenant | Ref}. A handle of another VM is in the arguments, which cannot be encoded then. */
static bool read_way(ErlNifEnv *env, ERL_NIF_TERM term, struct request *r) {
    int arity;
    const ERL_NIF_TERM *parts;
    struct pc_tenancy *tenancy;
    struct pc_ref *ref;
    r->tenant = NULL;
    r->target = NULL;
    r->holds = NULL;
    if (pc_dispatcher_get(env, term, &r->dispatcher)) {
        return true;
    }
    if (!enif_get_tuple(env, term, &arity, &parts) || arity != 2 || !pc_dispatcher_get(env, parts[0], &r->dispatcher)) {
        return false;
    }
    if (pc_tenancy_get(env, parts[1], &tenancy)) {
        struct pc_lane *lane = pc_tenant_lane(&tenancy->tenant);
        r->tenant = &tenancy->tenant;
        r->target = lane == NULL ? NULL : lane->channel;
        r->holds = tenancy;
        return lane != NULL || (tenancy->tenant.exclusive && tenancy->dispatcher == r->dispatcher);
    }
    if (pc_ref_get(env, parts[1], &ref)) {
        r->target = pc_ref_channel(ref);
        r->holds = ref;
        return true;
    }
    return enif_is_ref(env, parts[1]);
}

/* What both have: where it goes and reference in front, max_frame, what the death of the caller does, and the deadline at the end. */
static bool read_common(ErlNifEnv *env, const ERL_NIF_TERM argv[], int argc, struct request *r, int64_t *deadline_ns) {
    r->ref = argv[1];
    r->finish = enif_is_identical(argv[argc - 2], am_finish);
    return read_way(env, argv[0], r) && enif_is_ref(env, argv[1]) &&
           enif_get_uint64(env, argv[argc - 3], &r->max_frame) && r->max_frame > MOST_HEAD &&
           r->max_frame <= PC_MAX_FRAME && pc_call_deadline_read(env, argv[argc - 1], deadline_ns);
}

enum { PACKED_ARGS = 10, TEXT_ARGS = 9 };
_Static_assert((int)PACKED_ARGS <= (int)PC_FRAME_MOST_ARGS, "they go on with one more");

static const struct function packed, texts;

/* What meta says of a stream. */
static bool read_credit(ErlNifEnv *env, ERL_NIF_TERM meta, ErlNifSInt64 *credit) {
    ERL_NIF_TERM stream;
    *credit = 0;
    return !enif_is_map(env, meta) || !enif_get_map_value(env, meta, am_stream, &stream) ||
           (enif_get_int64(env, stream, credit) && *credit > 0 && *credit <= PC_MOST_CREDIT);
}

static bool read_packed(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct request *r) {
    r->json = false;
    if (!read_common(env, argv, PACKED_ARGS, r, &r->terms.deadline_ns) ||
        !pc_call_terms_read(env, argv + 2, &r->terms) || !read_credit(env, r->terms.meta, &r->credit)) {
        return false;
    }
    r->opts = r->terms.opts;
    r->terms.opts.refs_to = r->target;
    return true;
}

static ERL_NIF_TERM packed_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return go_on(env, &packed, argv);
}

static ERL_NIF_TERM packed_ready(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, &packed, argv);
}

static const struct function packed = {"submit", PACKED_ARGS, read_packed, packed_dirty, packed_ready};

ERL_NIF_TERM nif_submit(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return begin(env, &packed, argv);
}

static bool read_texts(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct request *r) {
    r->json = true;
    r->credit = 0;
    return read_common(env, argv, TEXT_ARGS, r, &r->texts.deadline_ns) &&
           pc_call_texts_read(env, argv + 2, &r->texts) && pc_term_opts_read(env, argv[5], &r->opts);
}

static ERL_NIF_TERM texts_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return go_on(env, &texts, argv);
}

static ERL_NIF_TERM texts_ready(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, &texts, argv);
}

static const struct function texts = {"submit_json", TEXT_ARGS, read_texts, texts_dirty, texts_ready};

ERL_NIF_TERM nif_submit_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return begin(env, &texts, argv);
}
