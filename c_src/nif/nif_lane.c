/*
 * A lane's life in the VM: its birth and end, its sending, and what the worker's process and the pool's have to say of its calls.
 */

#include "nif/atoms.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/note.h"
#include "nif/send.h"
#include "nif/started.h"
#include "wire/clock.h"
#include "wire/kinds.h"

static bool lane_of(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel) {
    return pc_channel_get(env, term, channel) && (*channel)->lane != NULL;
}

static bool controlled_lane(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel) {
    return lane_of(env, term, channel) && pc_channel_is_controller(env, *channel);
}

/* ---- Sending */

void pc_lane_say_lost(ErlNifEnv *env, struct pc_channel *c) {
    pc_lane_stop(c->lane);
    pc_channel_tell_controller(env, c, enif_alloc_env(), am_lost);
}

static void flush(ErlNifEnv *env, struct pc_channel *c, bool unblock) {
    switch (pc_lane_flush(c->lane, unblock)) {
    case PC_IO_AGAIN:
        if (enif_select(env, c->fd, ERL_NIF_SELECT_WRITE, c, &c->reader, am_undefined) < 0) {
            pc_lane_say_lost(env, c);
        }
        break;
    case PC_IO_EOF:
        pc_lane_say_lost(env, c);
        break;
    default:
        break;
    }
    pc_lane_unpin(c->lane, pc_lane_actor(env));
}

void pc_dispatcher_settle(ErlNifEnv *env, struct pc_dispatcher *dispatcher) {
    struct pc_dispatch *d = &dispatcher->d;
    struct pc_lane *lane;
    while (pc_dispatch_is_unsettled(d) && (lane = pc_dispatch_settle(d, pc_clock_ns(), pc_lane_actor(env))) != NULL) {
        flush(env, lane->channel, false);
    }
}

void pc_channel_flush_lane(ErlNifEnv *env, struct pc_channel *c, bool unblock) {
    struct pc_dispatcher *dispatcher = pc_dispatcher_of(c->lane);
    bool unsettled = pc_dispatch_is_unsettled(&dispatcher->d);
    if (unsettled) {
        enif_keep_resource(dispatcher);
    }
    flush(env, c, unblock);
    if (unsettled) {
        pc_dispatcher_settle(env, dispatcher);
        enif_release_resource(dispatcher);
    }
}

/* ---- Birth and end */

/*
 * Dispatcher, index, os_pid, channel, reader, max_frame, and after how many calls it is worn; enters the channel in phase
 * control, or *refusal says why not.
 */
static bool attach(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct pc_channel **channel, ERL_NIF_TERM *refusal) {
    struct pc_dispatcher *dispatcher;
    unsigned index;
    ErlNifSInt64 os_pid;
    ErlNifUInt64 max_frame, worn_after;
    ErlNifPid reader;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || !enif_get_uint(env, argv[1], &index) ||
        !enif_get_int64(env, argv[2], &os_pid) || !pc_channel_get(env, argv[3], channel) ||
        !enif_get_local_pid(env, argv[4], &reader) || !enif_get_uint64(env, argv[5], &max_frame) ||
        max_frame > PC_MAX_FRAME || !enif_get_uint64(env, argv[6], &worn_after)) {
        *refusal = enif_make_badarg(env);
        return false;
    }
    struct pc_channel *c = *channel;
    if (!pc_channel_is_controller(env, c)) {
        *refusal = enif_make_tuple2(env, am_error, am_not_owner);
        return false;
    }
    if (c->lane != NULL || pc_machine_enter(&c->machine, PC_CONTROL) == 0) {
        *refusal = enif_make_tuple2(env, am_error, am_closed);
        return false;
    }
    c->reader = reader;
    c->os_pid = os_pid;
    c->worn_after = worn_after;
    c->stream = c->in.total;
    c->max_frame = (size_t)max_frame;
    c->lane = enif_alloc(sizeof *c->lane);
    pc_lane_init(c->lane, &dispatcher->d, c, c->fd, index, c->max_frame);
    enif_keep_resource(dispatcher);
    enif_keep_resource(c); /* the dispatcher's, until the lane is closed */
    return true;
}

/* The channel will be a slot, which can be lent. */
ERL_NIF_TERM nif_lane_attach(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ERL_NIF_TERM refusal;
    if (!attach(env, argv, &c, &refusal)) {
        return refusal;
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CONTROL, false);
    return am_ok;
}

/* The channel is a pipelined worker's, and from now on a lane. */
ERL_NIF_TERM nif_lane_open(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ERL_NIF_TERM refusal;
    if (!attach(env, argv, &c, &refusal)) {
        return refusal;
    }
    if (!pc_lane_open(c->lane, 0, false, pc_clock_ns(), pc_lane_actor(env))) {
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CONTROL, false);
        return enif_make_tuple2(env, am_error, am_closed);
    }
    pc_machine_become(&c->machine, PC_PIPELINED);
    pc_channel_flush_lane(env, c, false);
    return am_ok;
}

/* Inside, and out of it if that is true: the first call that could have the slot waits for it, and gets it, as by claim/1. */
static bool give_to_waiting(ErlNifEnv *env, struct pc_channel *c) {
    struct pc_job *job;
    while ((job = (struct pc_job *)pc_lane_take_for_slot(c->lane)) != NULL) {
        c->owner = job->owner;
        c->finish = c->adopted = false;
        if (enif_monitor_process(env, c, &job->owner, &c->owner_monitor) != 0) {
            pc_job_drop(job); /* nobody is there to have it */
            continue;
        }
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, false);
        job->call.lane = c->lane;
        job->call.sent = pc_clock_ns();
        pc_job_end(env, job, enif_make_tuple2(job->env, am_slot, enif_make_resource(job->env, c)));
        return true;
    }
    return false;
}

void pc_channel_lend(ErlNifEnv *env, struct pc_channel *c) {
    if (pc_machine_enter(&c->machine, PC_FREE) == 0) {
        return; /* condemned while it lay free; its process takes it off the table */
    }
    if (give_to_waiting(env, c)) {
        return;
    }
    if (!pc_lane_open(c->lane, c->call_id, true, pc_clock_ns(), pc_lane_actor(env))) {
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_FREE, false);
        return;
    }
    c->max_frame = c->lane->max_frame;
    pc_machine_become(&c->machine, PC_PIPELINED);
    ErlNifEnv *message = enif_alloc_env();
    pc_send(env, &c->reader, message, am_pitcrew_lent);
    pc_channel_flush_lane(env, c, false);
}

void pc_channel_wake(ErlNifEnv *env, struct pc_channel *c) {
    if (pc_lane_nudge(c->lane, pc_clock_ns(), pc_lane_actor(env))) {
        pc_channel_flush_lane(env, c, false);
    } else if (c->slots != NULL) {
        pc_slots_lend_to(env, c->slots, c);
    }
}

void pc_channel_end_lane(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM reason) {
    uint64_t started = c->started == NULL ? pc_lane_silence(c->lane) : pc_started_id(c->started);
    ERL_NIF_TERM ended = enif_make_tuple2(env, am_exit, reason);
    ERL_NIF_TERM gone = enif_make_tuple2(env, am_gone, reason);
    pc_lane_stop(c->lane);
    pc_jobs_end(env, pc_lane_take_after(c->lane, started), am_unstarted, gone);
    pc_jobs_end(env, pc_lane_take_after(c->lane, 0), ended, ended);
    pc_jobs_end(env, pc_lane_take_own(c->lane), gone, gone);
}

void pc_channel_close(ErlNifEnv *env, struct pc_channel *c) {
    pc_machine_close(&c->machine, pc_channel_actor(env));
    if (c->lane != NULL && pc_lane_close(c->lane, pc_lane_actor(env))) {
        enif_release_resource(c);
    }
}

void pc_lane_say_idle(ErlNifEnv *env, struct pc_channel *c) {
    struct pc_dispatcher *dispatcher = pc_dispatcher_of(c->lane);
    if (pc_dispatch_is_uneven(&dispatcher->d)) {
        ErlNifEnv *message = enif_alloc_env();
        pc_send(env, &dispatcher->pool, message, enif_make_tuple2(message, am_pitcrew_dispatch, am_uneven));
    }
}

void pc_lane_say_drained(ErlNifEnv *env, struct pc_channel *c) {
    if (pc_lane_is_drained(c->lane)) {
        pc_channel_tell_controller(env, c, enif_alloc_env(), am_drained);
    }
}

/* The worker has dropped a call that it had not started. */
ERL_NIF_TERM nif_lane_drop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifUInt64 id;
    bool left, known;
    if (!controlled_lane(env, argv[0], &c) || !enif_get_uint64(env, argv[1], &id)) {
        return enif_make_badarg(env);
    }
    if (!pc_lane_pin(c->lane, pc_lane_actor(env))) {
        return am_ok;
    }
    struct pc_call *call = pc_lane_take(c->lane, id, PC_ANY_FORMAT, pc_clock_ns(), &left, &known);
    if (call != NULL) {
        call->state = left ? PC_CALL_LEFT : PC_CALL_OVER;
        call->next = NULL;
        pc_jobs_end(env, call, am_unstarted, am_unstarted);
        pc_lane_say_idle(env, c); /* no answer comes after which its reader would do so */
        pc_lane_say_drained(env, c);
    }
    pc_channel_flush_lane(env, c, false); /* others have taken its place */
    return am_ok;
}

static ERL_NIF_TERM make_ids(ErlNifEnv *env, const uint64_t *ids, size_t n) {
    ERL_NIF_TERM list = enif_make_list(env, 0);
    while (n > 0) {
        list = enif_make_list_cell(env, enif_make_uint64(env, ids[--n]), list);
    }
    return list;
}

ERL_NIF_TERM nif_lane_retire(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!lane_of(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    uint64_t ids[PC_MOST_DEPTH];
    size_t n = pc_lane_retire(c->lane, ids, PC_MOST_DEPTH);
    pc_channel_wake(env, c); /* a free slot is the lane's at once, so that nobody claims it */
    return make_ids(env, ids, n);
}

/* A call that nobody waits for has not ended although it was told to. */
ERL_NIF_TERM nif_lane_give_up(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifUInt64 id;
    unsigned others;
    if (!controlled_lane(env, argv[0], &c) || !enif_get_uint64(env, argv[1], &id)) {
        return enif_make_badarg(env);
    }
    if (c->started != NULL && id > pc_started_id(c->started)) {
        struct pc_lane_counts n = {.load = 0};
        pc_lane_count(c->lane, &n);
        return n.first == 0 || n.first > id ? am_none : am_unstarted;
    }
    if (!pc_lane_give_up(c->lane, id, &others)) {
        return am_none;
    }
    return enif_make_tuple2(env, am_stuck, enif_make_uint(env, others));
}

/* Calls that the worker has not started, as far as one can see. */
ERL_NIF_TERM nif_lane_unstarted(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    uint64_t ids[PC_MOST_DEPTH];
    if (!controlled_lane(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    uint64_t started = c->started == NULL ? 0 : pc_started_id(c->started);
    return make_ids(env, ids, pc_lane_list_after(c->lane, started, ids, PC_MOST_DEPTH));
}

ERL_NIF_TERM nif_lane_stop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifUInt64 id;
    if (!controlled_lane(env, argv[0], &c) || !enif_get_uint64(env, argv[1], &id)) {
        return enif_make_badarg(env);
    }
    return pc_lane_stop_at(c->lane, id) ? am_true : am_false;
}

ERL_NIF_TERM nif_lane_shutdown(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    struct pc_note note;
    if (!controlled_lane(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    struct pc_writer *w = pc_note_begin(&note);
    pc_write_array(w, 2);
    pc_write_uint(w, PC_KIND_SHUTDOWN);
    pc_write_uint(w, 0);
    if (!pc_lane_pin(c->lane, pc_lane_actor(env))) {
        return am_busy;
    }
    bool idle = pc_note_append(&note, c->lane, true);
    pc_channel_flush_lane(env, c, false);
    return idle ? am_ok : am_busy;
}
