/*
 * submit/10 and submit_json/9: a call's frame is made, and goes to the worker with the least to do or into the queue. A frame that takes
 * long is made on a dirty scheduler; everything else happens on a normal one, since the dispatcher's lock must not be held by a
 * thread that may have to wait for a processor.
 */
#include "nif/atoms.h"
#include "nif/frame_memory.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/refs.h"
#include "nif/request.h"
#include "nif/tenancy.h"
#include "wire/stream.h"

enum { LOCAL = 2048 }; /* bytes of a body that take no memory of their own */

/* The two native functions: what they are called, what they are given, and where they go on. */
struct function {
    const char *name;
    int argc;
    bool (*read)(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct pc_request *r);
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
static enum pc_submitted submit_to_slot(ErlNifEnv *env, const struct pc_request *r, struct pc_job *job,
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

static void fill(struct pc_job *job, const struct pc_request *r) {
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

static enum pc_submitted hand_on(ErlNifEnv *env, const struct pc_request *r, struct pc_job *job, struct pc_body *body,
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
static ERL_NIF_TERM submit(ErlNifEnv *env, const struct pc_request *r, struct pc_body *body) {
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
    pc_request_drop_body(r, body);
    return how == PC_SUBMIT_OVER   ? am_over
           : how == PC_SUBMIT_GONE ? am_gone
           : how == PC_SUBMIT_HELD ? am_held
           : how == PC_SUBMIT_FULL ? am_full
                                   : no_memory(env);
}

/* ---- From scheduler to scheduler */

static ERL_NIF_TERM begin(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct pc_request r;
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
    enum pc_status status = pc_request_body(env, &r, &budget, (struct pc_local){memory, sizeof memory}, &body, &err);
    pc_budget_account(env, &budget);
    ERL_NIF_TERM result = status == PC_OK ? submit(env, &r, &body)
                          : status == PC_BUDGET
                              ? enif_schedule_nif(env, f->name, ERL_NIF_DIRTY_JOB_CPU_BOUND, f->dirty, f->argc, argv)
                              : encode_error(env, &err);
    pc_request_release(&r);
    return result;
}

/* On a dirty scheduler: the body goes back as one more argument. */
static ERL_NIF_TERM go_on(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct pc_request r;
    struct pc_body body;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    if (!f->read(env, argv, &r)) {
        return enif_make_badarg(env);
    }
    enum pc_status status = pc_request_body(env, &r, NULL, (struct pc_local){NULL, 0}, &body, &err);
    ERL_NIF_TERM next = 0;
    bool goes_on = status == PC_OK && pc_frame_memory_schedule(env, f->name, f->ready, f->argc, argv, &body,
                                                               body.apart > 0 ? r.target : NULL, &next);
    pc_request_release(&r);
    return goes_on ? next : status == PC_OK ? no_memory(env) : encode_error(env, &err);
}

/* Back on a normal one. */
static ERL_NIF_TERM end(ErlNifEnv *env, const struct function *f, const ERL_NIF_TERM argv[]) {
    struct pc_request r;
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
    pc_request_release(&r);
    return result;
}

/* ---- The functions */

/* A dispatcher, or {Dispatcher, Tenant | Ref}. A handle of another VM is in the arguments, which cannot be encoded then. */
static bool read_way(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_request *r) {
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
static bool read_common(ErlNifEnv *env, const ERL_NIF_TERM argv[], int argc, struct pc_request *r,
                        int64_t *deadline_ns) {
    r->ref = argv[1];
    r->finish = enif_is_identical(argv[argc - 2], am_finish);
    return read_way(env, argv[0], r) && enif_is_ref(env, argv[1]) &&
           enif_get_uint64(env, argv[argc - 3], &r->max_frame) && r->max_frame > PC_REQUEST_HEAD &&
           r->max_frame <= PC_MAX_FRAME && pc_call_deadline_read(env, argv[argc - 1], deadline_ns);
}

enum { PACKED_ARGS = 10, TEXT_ARGS = 9 };
_Static_assert((int)PACKED_ARGS <= (int)PC_FRAME_MEMORY_ARGS, "they go on with one more");

static const struct function packed, texts;

/* What meta says of a stream. */
static bool read_credit(ErlNifEnv *env, ERL_NIF_TERM meta, ErlNifSInt64 *credit) {
    ERL_NIF_TERM stream;
    *credit = 0;
    return !enif_is_map(env, meta) || !enif_get_map_value(env, meta, am_stream, &stream) ||
           (enif_get_int64(env, stream, credit) && *credit > 0 && *credit <= PC_MOST_CREDIT);
}

static bool read_packed(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct pc_request *r) {
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

static bool read_texts(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct pc_request *r) {
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
