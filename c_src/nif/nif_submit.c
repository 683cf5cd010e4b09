/*
 * submit/10 and submit_json/9: a call's frame is made, and goes to the worker with the least to do or into the queue. A frame that takes
 * long is made on a dirty scheduler; everything else happens on a normal one, since the dispatcher's lock must not be held by a
 * thread that may have to wait for a processor.
 */
#include <stdlib.h>
#include <string.h>

#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/call_body.h"
#include "nif/frame.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/refs.h"
#include "nif/tenancy.h"
#include "wire/segment_footer.h"
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
    void *holds;               /* the resource that says so */
    struct pc_channel *chosen; /* the target, by us, for what is large: a handle to be released; or NULL */
    bool slot;                 /* it waits for a slot, and is encoded when it has one */
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
    if (how == PC_SUBMIT_FULL) { /* those that only its worker can have came first; this one is still for any */
        job->call.target = NULL;
        job->holds = NULL;
        enif_release_resource(c);
    }
    pc_channel_lend(env, c); /* or the slot is free again */
    enif_release_resource(c);
    return how;
}

/* It does not go out. */
static void drop_body(const struct request *r, const struct pc_body *body) {
    if (body->apart > 0 && r->target != NULL) {
        pc_buffers_cancel(r->target->buffers, body->data, body->n);
    }
    if (body->owned) {
        free(body->data);
    }
}

static void fill(struct pc_job *job, const struct request *r) {
    job->call.json = r->json;
    job->call.stream = r->credit > 0;
    job->call.credit = r->credit;
    job->call.urgent = r->opts.nested != 0;
    job->call.slot = r->slot;
    job->call.tenant = r->tenant;
    job->call.target = r->target == NULL ? NULL : r->target->lane;
    job->holds = r->holds;
    if (r->holds != NULL) {
        enif_keep_resource(r->holds);
    }
}

static enum pc_submitted hand_on(ErlNifEnv *env, const struct request *r, struct pc_job *job, struct pc_body *body,
                                 struct pc_lane **lane) {
    bool claims_none = (job->call.stream || job->hosted) && r->holds == NULL && r->dispatcher->slots != NULL;
    enum pc_submitted how = PC_SUBMIT_FULL;
    if (claims_none && r->opts.nested != 0) { /* a worker that is free goes before one that waits */
        how = submit_to_slot(env, r, job, body, lane);
    }
    if (how == PC_SUBMIT_FULL) {
        how = pc_dispatcher_submit(env, r->dispatcher, job, body, lane);
    }
    if (how == PC_SUBMIT_FULL && claims_none) {
        how = submit_to_slot(env, r, job, body, lane);
    }
    return how;
}

/* Takes the body's memory if that is owned. */
static ERL_NIF_TERM submit(ErlNifEnv *env, const struct request *r, struct pc_body *body) {
    struct pc_lane *lane;
    struct pc_job *job = pc_job_new(env, r->ref, r->finish, &r->opts);
    enum pc_submitted how = PC_SUBMIT_NO_MEMORY;
    if (job != NULL && pc_job_set_outer(env, job, r->dispatcher, r->opts.nested)) {
        fill(job, r);
        how = hand_on(env, r, job, body, &lane);
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
    drop_body(r, body);
    return how == PC_SUBMIT_OVER   ? am_over
           : how == PC_SUBMIT_GONE ? am_gone
           : how == PC_SUBMIT_HELD ? am_held
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

/* Memory of the caller's for a body that fits it. */
struct local {
    uint8_t *data;
    size_t size;
};

/* The body, which is in memory of malloc's unless it fits `local`; what is large is in segments, if there is `outgo`. */
static enum pc_status write_body(ErlNifEnv *env, const struct request *r, struct pc_outgo *outgo,
                                 struct pc_budget *budget, struct local local, struct pc_body *body,
                                 struct pc_term_error *err) {
    struct pc_writer w;
    pc_writer_init(&w, local.data, local.size, (size_t)r->max_frame - MOST_HEAD, grow, local.data);
    enum pc_status status = r->json ? pc_call_texts_write(&w, &r->texts, budget)
                                    : pc_call_body_write(env, &w, &r->terms, NULL, outgo, budget, err);
    if (status == PC_OK && outgo != NULL && outgo->count > 0) {
        pc_segment_footer_write(&w, outgo->names, outgo->count);
    }
    if (status == PC_OK && w.status != PC_OK) {
        status = pc_term_refuse(env, err, w.status);
    }
    *body = (struct pc_body){.data = w.data, .n = w.len, .owned = w.data != local.data};
    if (status != PC_OK) {
        if (body->owned) {
            free(w.data);
        }
        if (outgo != NULL) {
            pc_outgo_cancel(outgo, 0);
        }
    } else if (outgo != NULL) {
        body->apart = outgo->bytes;
    }
    return status;
}

/*
 * For something large: the channel that it will be sent to. With slots that is one that is free, for calls that claim none; the others wait until they have
 * one.
 */
static void choose(ErlNifEnv *env, struct request *r) {
    struct pc_dispatcher *dispatcher = r->dispatcher;
    struct pc_channel *c;
    if (r->opts.nested != 0 && dispatcher->d.width == 1) {
        return; /* it may have to go to any worker that comes free, or to one that waits for it */
    }
    if (dispatcher->slots == NULL) {
        c = pc_dispatch_next(&dispatcher->d, pc_lane_actor(env));
    } else if (r->credit == 0 && r->opts.host == 0) {
        r->slot = pc_slots_share(dispatcher->slots);
        return;
    } else {
        c = pc_slots_peek(dispatcher->slots);
    }
    if (c != NULL && (c->buffers == NULL || c->lane == NULL)) {
        enif_release_resource(c);
    } else if (c != NULL) {
        r->target = r->chosen = c;
        r->holds = c;
    }
}

/* As write_body. What is large goes into segments where the channel is known, or can be; and is not looked at where it will be known later. */
static enum pc_status make_body(ErlNifEnv *env, struct request *r, struct pc_budget *budget, struct local local,
                                struct pc_body *body, struct pc_term_error *err) {
    struct pc_outgo outgo;
    bool is_known = r->target != NULL;
    if (r->json || (is_known && r->target->buffers == NULL) || (!is_known && r->tenant != NULL)) {
        return write_body(env, r, NULL, budget, local, body, err);
    }
    pc_outgo_init(&outgo, is_known ? r->target->buffers : NULL);
    enum pc_status status = write_body(env, r, &outgo, budget, local, body, err);
    if (!outgo.wanted) {
        return status;
    }
    choose(env, r);
    if (r->slot) {
        *body = (struct pc_body){.n = 0};
        return PC_OK;
    }
    if (r->target == NULL) {
        return write_body(env, r, NULL, budget, local, body, err);
    }
    pc_outgo_init(&outgo, r->target->buffers);
    return write_body(env, r, &outgo, budget, local, body, err);
}

/* ---- From scheduler to scheduler */

static void let_go(const struct request *r) {
    if (r->chosen != NULL) {
        enif_release_resource(r->chosen);
    }
}

static ERL_NIF_TERM begin(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    struct pc_budget budget;
    uint8_t memory[LOCAL];
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!f->read(env, argv, &r)) {
        return enif_make_badarg(env);
    }
    if (r.target != NULL && r.target->lane->dispatch != &r.dispatcher->d) {
        return am_foreign;
    }
    pc_budget_init(&budget, 0);
    enum pc_status status = make_body(env, &r, &budget, (struct local){memory, sizeof memory}, &body, &err);
    pc_budget_account(env, &budget);
    ERL_NIF_TERM result = status == PC_OK ? submit(env, &r, &body)
                          : status == PC_BUDGET
                              ? enif_schedule_nif(env, f->name, ERL_NIF_DIRTY_JOB_CPU_BOUND, f->dirty, f->argc, argv)
                              : encode_error(env, &err);
    let_go(&r);
    return result;
}

/* On a dirty scheduler: the body goes back as one more argument. */
static ERL_NIF_TERM go_on(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!f->read(env, argv, &r)) {
        return enif_make_badarg(env);
    }
    enum pc_status status = make_body(env, &r, NULL, (struct local){NULL, 0}, &body, &err);
    ERL_NIF_TERM next = 0;
    bool goes_on = status == PC_OK && pc_frame_memory_schedule(env, f->name, f->ready, f->argc, argv, &body,
                                                               body.apart > 0 ? r.target : NULL, &next);
    let_go(&r);
    return goes_on ? next : status == PC_OK ? no_memory(env) : encode_error(env, &err);
}

/* Back on a normal one. */
static ERL_NIF_TERM end(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct request r;
    struct pc_body body;
    if (!f->read(env, argv, &r) || !pc_frame_memory_body(env, argv[f->argc], &body, &r.chosen)) {
        return enif_make_badarg(env);
    }
    if (r.chosen != NULL && r.target == NULL) {
        r.target = r.chosen;
        r.holds = r.chosen;
    }
    r.slot = !r.json && body.n == 0;
    ERL_NIF_TERM result = submit(env, &r, &body);
    let_go(&r);
    return result;
}

/* ---- The functions */

/* A dispatcher, or {Dispatcher, Tenant | Ref}. A handle of another VM is in the arguments, which cannot be encoded then. */
static bool read_way(ErlNifEnv *env, ERL_NIF_TERM term, struct request *r) {
    int arity;
    const ERL_NIF_TERM *parts;
    struct pc_tenancy *tenancy;
    struct pc_ref *ref;
    r->tenant = NULL;
    r->target = r->chosen = NULL;
    r->holds = NULL;
    r->slot = false;
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
