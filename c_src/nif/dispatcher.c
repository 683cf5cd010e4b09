/*
 * The resource behind a pool's dispatcher, and its calls' births and ends. Callbacks may run on any scheduler.
 *
 * A dispatcher outlives its lanes, each of which keeps it; those that wait in its queue are told when its pool ends.
 */
#include "nif/lane.h"

#include <stdlib.h>
#include <string.h>

#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/nif.h"
#include "nif/send.h"
#include "wire/clock.h"
#include "wire/stream.h"

enum { MOST_MOVED = 256 };

static ErlNifResourceType *dispatcher_type;

static void keep(void *channel) { enif_keep_resource(channel); }
static void release(void *channel) { enif_release_resource(channel); }
/* The machine was told to close before, and has waited for us to come out. */
static void come_out(void *channel, void *env) {
    struct pc_channel *c = channel;
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_PIPELINED, false);
}

static const struct pc_lane_ops ops = {.keep = keep, .release = release, .close = come_out};

struct pc_lane_actor pc_lane_actor(ErlNifEnv *env) {
    return (struct pc_lane_actor){.ops = &ops, .env = env};
}

bool pc_dispatcher_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_dispatcher **dispatcher) {
    return enif_get_resource(env, term, dispatcher_type, (void **)dispatcher);
}

void pc_dispatcher_release(struct pc_dispatcher *dispatcher) { enif_release_resource(dispatcher); }

/* ---- Calls */

struct pc_job *pc_job_new(ErlNifEnv *env, ERL_NIF_TERM ref, bool finish, const struct pc_term_opts *opts) {
    struct pc_job *job = enif_alloc(sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    memset(&job->call, 0, sizeof job->call);
    job->env = enif_alloc_env();
    job->ref = enif_make_copy(job->env, ref);
    job->call.finish = finish;
    job->holds = NULL;
    job->outer = NULL;
    job->opts = *opts;
    job->opts.functions = job->opts.host = job->opts.nested = 0; /* terms of the caller's */
    job->hosted = opts->host != 0 && enif_get_local_pid(env, opts->host, &job->host);
    (void)enif_self(env, &job->owner);
    return job;
}

static bool is_known(const struct pc_job *job, const struct pc_lane *lane) {
    unsigned i = 0;
    while (i < job->call.outer_count && job->outer[i].lane != lane) {
        i++;
    }
    return i < job->call.outer_count;
}

/* Of several around it in one worker the innermost counts. */
static void add_outer(ErlNifEnv *env, struct pc_job *job, const struct pc_dispatcher *dispatcher, ERL_NIF_TERM term) {
    int arity;
    const ERL_NIF_TERM *parts;
    struct pc_channel *c;
    ErlNifUInt64 function;
    if (enif_get_tuple(env, term, &arity, &parts) && arity == 2 && pc_channel_get(env, parts[0], &c) &&
        enif_get_uint64(env, parts[1], &function) && c->lane != NULL && c->lane->dispatch == &dispatcher->d &&
        !is_known(job, c->lane)) {
        enif_keep_resource(c);
        job->outer[job->call.outer_count++] = (struct pc_outer){.lane = c->lane, .function = function};
    }
}

bool pc_job_set_outer(ErlNifEnv *env, struct pc_job *job, struct pc_dispatcher *dispatcher, ERL_NIF_TERM nested) {
    unsigned n;
    ERL_NIF_TERM term;
    if (nested == 0 || !enif_get_list_length(env, nested, &n) || n == 0) {
        return true;
    }
    job->outer = enif_alloc(n * sizeof *job->outer);
    if (job->outer == NULL) {
        return false;
    }
    job->call.outer = job->outer;
    while (enif_get_list_cell(env, nested, &term, &nested)) {
        add_outer(env, job, dispatcher, term);
    }
    return true;
}

static void free_outer(struct pc_job *job) {
    for (unsigned i = 0; i < job->call.outer_count; i++) {
        enif_release_resource(job->outer[i].lane->channel);
    }
    enif_free(job->outer);
}

/* What it waited with, unless that has gone out. */
static void free_body(const struct pc_job *job) {
    const struct pc_body *body = &job->call.body;
    if (!body->owned || job->call.lane != NULL) {
        return;
    }
    if (body->apart > 0) {
        pc_buffers_cancel(((struct pc_channel *)job->call.target->channel)->buffers, body->data, body->n);
    }
    free(body->data);
}

static void free_job(struct pc_job *job) {
    free_body(job);
    free_outer(job);
    if (job->holds != NULL) {
        enif_release_resource(job->holds);
    }
    enif_free(job);
}

void pc_job_drop(struct pc_job *job) {
    enif_free_env(job->env);
    free_job(job);
}

/* Of the very worker that has the call: its slot may be another's when the caller asks. */
static ERL_NIF_TERM make_os_pid(ErlNifEnv *env, const struct pc_lane *lane) {
    return enif_make_int64(env, ((const struct pc_channel *)lane->channel)->os_pid);
}

void pc_job_end(ErlNifEnv *env, struct pc_job *job, ERL_NIF_TERM answer) {
    const struct pc_lane *lane = job->call.lane;
    ErlNifEnv *message = job->env;
    int64_t queued = lane == NULL ? 0 : job->call.sent - job->submitted;
    ERL_NIF_TERM fields[] = {am_pitcrew_end,
                             job->ref,
                             lane == NULL ? am_nil : make_os_pid(message, lane),
                             enif_make_uint64(message, job->call.bytes),
                             enif_make_int64(message, queued),
                             answer};
    pc_send(env, &job->owner, message, enif_make_tuple_from_array(message, fields, sizeof fields / sizeof fields[0]));
    free_job(job);
}

void pc_jobs_end(ErlNifEnv *env, struct pc_call *calls, ERL_NIF_TERM answer, ERL_NIF_TERM gone) {
    struct pc_call *next;
    for (struct pc_call *call = calls; call != NULL; call = next) {
        struct pc_job *job = (struct pc_job *)call;
        bool bound = call->target != NULL || call->tenant != NULL;
        next = call->next;
        if (call->state == PC_CALL_LEFT) {
            pc_job_drop(job);
        } else {
            pc_job_end(env, job, enif_make_copy(job->env, bound ? gone : answer));
        }
    }
}

/* ---- Owners: processes, watched from their first call on, since beginning and ending to watch costs as much as the call itself */

struct watch {
    struct pc_owner owner; /* the first member, so that one is the other */
    ErlNifMonitor monitor;
};

/* False when out of memory. */
static bool introduce(ErlNifEnv *env, struct pc_dispatcher *dispatcher, const ErlNifPid *self) {
    struct watch *watch = enif_alloc(sizeof *watch);
    if (watch == NULL) {
        return false;
    }
    watch->owner.key = self->pid;
    /* The process is alive, since it runs this, and stays alive until it is through. */
    (void)enif_monitor_process(env, dispatcher, self, &watch->monitor);
    struct watch *forgotten = (struct watch *)pc_dispatch_meet(&dispatcher->d, &watch->owner);
    if (forgotten != NULL) {
        (void)enif_demonitor_process(env, dispatcher, &forgotten->monitor);
        enif_free(forgotten);
    }
    return true;
}

enum pc_submitted pc_dispatcher_submit(ErlNifEnv *env, struct pc_dispatcher *dispatcher, struct pc_job *job,
                                       struct pc_body *body, struct pc_lane **lane) {
    enum pc_submitted how;
    job->submitted = pc_clock_ns();
    do {
        how = pc_dispatch_submit(&dispatcher->d, job->owner.pid, &job->call, body, job->submitted, pc_lane_actor(env),
                                 lane);
    } while (how == PC_SUBMIT_STRANGER && introduce(env, dispatcher, &job->owner));
    if (pc_dispatch_wants(&dispatcher->d)) {
        ErlNifEnv *message = enif_alloc_env();
        pc_send(env, &dispatcher->pool, message, enif_make_tuple2(message, am_pitcrew_dispatch, am_wanted));
    }
    return how;
}

enum pc_submitted pc_dispatcher_take_over(ErlNifEnv *env, struct pc_channel *c, struct pc_job *job) {
    enum pc_submitted how;
    job->submitted = pc_clock_ns();
    do {
        how = pc_lane_take_over(c->lane, job->owner.pid, &job->call, c->call_id, job->submitted, pc_lane_actor(env));
    } while (how == PC_SUBMIT_STRANGER && introduce(env, pc_dispatcher_of(c->lane), &job->owner));
    return how;
}

/* ---- Whoever waits leaves */

bool pc_job_has_ref(const struct pc_call *call, const void *ref) {
    return enif_is_identical(((const struct pc_job *)call)->ref, *(const ERL_NIF_TERM *)ref);
}

/* The worker's process is told of a call that is out: `left`, it may have it stopped, or `inner`, but not what is around it, or `finish`. */
static enum pc_leaving leave(ErlNifEnv *env, struct pc_dispatcher *dispatcher, const ErlNifPid *owner,
                             pc_call_test is_it, const void *context, bool only_queued, ERL_NIF_TERM *os_pid) {
    struct pc_call *call;
    struct pc_lane *lane = NULL;
    uint64_t id = 0;
    bool goes_on = false;
    enum pc_leaving how = pc_dispatch_leave(&dispatcher->d, owner->pid, is_it, context, only_queued, pc_lane_actor(env),
                                            &call, &lane, &id, &goes_on);
    if (how == PC_LEAVE_QUEUED) {
        pc_job_drop((struct pc_job *)call);
        pc_dispatcher_settle(env, dispatcher);
    } else if (lane != NULL) {
        ErlNifEnv *message = enif_alloc_env();
        ERL_NIF_TERM what = goes_on ? am_finish : how == PC_LEAVE_INNER ? am_inner : am_left;
        *os_pid = make_os_pid(env, lane);
        pc_channel_tell_controller(env, lane->channel, message,
                                   enif_make_tuple2(message, what, enif_make_uint64(message, id)));
        pc_lane_unpin(lane, pc_lane_actor(env));
    }
    return how;
}

ERL_NIF_TERM nif_leave(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifPid self;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || enif_self(env, &self) == NULL || !enif_is_ref(env, argv[1]) ||
        !enif_is_atom(env, argv[2])) {
        return enif_make_badarg(env);
    }
    bool only_queued = enif_is_identical(argv[2], am_true);
    ERL_NIF_TERM os_pid = am_nil;
    unsigned messages = only_queued ? 0 : pc_dispatch_deafen(&dispatcher->d, self.pid, pc_job_has_ref, &argv[1]);
    ERL_NIF_TERM outcome = am_none;
    switch (leave(env, dispatcher, &self, pc_job_has_ref, &argv[1], only_queued, &os_pid)) {
    case PC_LEAVE_QUEUED:
        outcome = am_queued;
        break;
    case PC_LEAVE_INNER:
    case PC_LEAVE_OUT:
        outcome = only_queued ? am_out : enif_make_tuple2(env, am_out, os_pid);
        break;
    default:
        break;
    }
    return messages == 0 ? outcome : enif_make_tuple3(env, am_owed, enif_make_uint(env, messages), outcome);
}

/* ---- The resource */

static void end_pool(ErlNifEnv *env, struct pc_dispatcher *dispatcher) {
    ERL_NIF_TERM down = enif_make_tuple2(env, am_exit, am_pool_down);
    pc_jobs_end(env, pc_dispatch_end(&dispatcher->d), down, down);
}

static void end_owner(ErlNifEnv *env, struct pc_dispatcher *dispatcher, const ErlNifPid *pid) {
    ERL_NIF_TERM os_pid;
    while (leave(env, dispatcher, pid, NULL, NULL, false, &os_pid) != PC_LEAVE_NONE) {}
    enif_free(pc_dispatch_part(&dispatcher->d, pid->pid));
}

static void dispatcher_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor) {
    struct pc_dispatcher *dispatcher = object;
    if (enif_compare_monitors(monitor, &dispatcher->pool_monitor) == 0) {
        end_pool(env, dispatcher);
    } else {
        end_owner(env, dispatcher, pid);
    }
}

static void dispatcher_dtor(ErlNifEnv *env, void *object) {
    struct pc_dispatcher *dispatcher = object;
    struct pc_owner *owner;
    while ((owner = pc_dispatch_part_any(&dispatcher->d)) != NULL) {
        enif_free(owner); /* nothing of a resource that is gone is watched any more */
    }
    pc_dispatch_destroy(&dispatcher->d);
    if (dispatcher->slots != NULL) {
        pc_slots_release(dispatcher->slots);
    }
    atomic_fetch_sub(&pc_nif_state(env)->dispatchers, 1);
}

int pc_dispatcher_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = dispatcher_dtor, .stop = NULL, .down = dispatcher_down, .members = 3};
    dispatcher_type = enif_init_resource_type(env, "pitcrew_dispatch", &init, flags, NULL);
    return dispatcher_type == NULL ? -1 : 0;
}

ERL_NIF_TERM nif_dispatch_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    unsigned depth, width;
    ErlNifPid pool;
    struct pc_slots *slots = NULL;
    if (!enif_get_uint(env, argv[0], &depth) || depth == 0 || depth > PC_MOST_DEPTH ||
        !enif_get_uint(env, argv[1], &width) || width == 0 || width > depth ||
        !(enif_is_identical(argv[2], am_none) || pc_slots_get(env, argv[2], &slots)) || !enif_is_atom(env, argv[3]) ||
        !enif_get_local_pid(env, argv[4], &pool) || !enif_is_atom(env, argv[5])) {
        return enif_make_badarg(env);
    }
    struct pc_dispatcher *dispatcher = enif_alloc_resource(dispatcher_type, sizeof *dispatcher);
    atomic_fetch_add(&pc_nif_state(env)->dispatchers, 1);
    dispatcher->pool = pool;
    dispatcher->slots = slots;
    dispatcher->name = argv[5];
    if (slots != NULL) {
        enif_keep_resource(slots);
    }
    ERL_NIF_TERM term = 0;
    if (pc_dispatch_init(&dispatcher->d, depth, width, enif_is_identical(argv[3], am_fifo)) &&
        enif_monitor_process(env, dispatcher, &pool, &dispatcher->pool_monitor) == 0) {
        term = enif_make_resource(env, dispatcher);
    }
    enif_release_resource(dispatcher);
    return term == 0 ? enif_make_badarg(env) : term;
}

ERL_NIF_TERM nif_dispatch_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    struct pc_dispatch_counts n;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher)) {
        return enif_make_badarg(env);
    }
    pc_dispatch_count(&dispatcher->d, &n);
    int64_t waited = n.queued == 0 ? 0 : pc_clock_ns() - n.first_queued;
    ERL_NIF_TERM keys[] = {am_lanes, am_free, am_out, am_queued, am_waited_ns};
    ERL_NIF_TERM values[] = {enif_make_uint(env, n.lanes), enif_make_uint(env, n.idle), enif_make_uint64(env, n.out),
                             enif_make_uint64(env, n.queued), enif_make_int64(env, waited)};
    ERL_NIF_TERM map;
    (void)enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

ERL_NIF_TERM nif_dispatch_limit(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifUInt64 most = SIZE_MAX;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) ||
        !(enif_is_identical(argv[1], am_infinity) || enif_get_uint64(env, argv[1], &most))) {
        return enif_make_badarg(env);
    }
    pc_dispatch_limit(&dispatcher->d, most);
    return am_ok;
}

ERL_NIF_TERM nif_dispatch_watch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher)) {
        return enif_make_badarg(env);
    }
    pc_dispatch_watch(&dispatcher->d);
    return am_ok;
}

ERL_NIF_TERM nif_dispatch_uneven(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifSInt64 age_ns;
    struct pc_misplaced misplaced[MOST_MOVED];
    size_t n;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || !enif_get_int64(env, argv[1], &age_ns)) {
        return enif_make_badarg(env);
    }
    int64_t since = pc_clock_ns() - age_ns;
    if (!pc_dispatch_uneven(&dispatcher->d, since, misplaced, MOST_MOVED, &n)) {
        return am_balanced;
    }
    ERL_NIF_TERM list = enif_make_list(env, 0);
    for (size_t i = 0; i < n; i++) {
        list = enif_make_list_cell(
            env, enif_make_tuple2(env, enif_make_uint(env, misplaced[i].index), enif_make_uint64(env, misplaced[i].id)),
            list);
    }
    return list;
}
