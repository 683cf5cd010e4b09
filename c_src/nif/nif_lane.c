/*
 * A lane's life in the VM, and its reader: one process for each lane, which takes answers from the socket and sends each to the caller that
 * waits for it. Small answers are decoded here; large ones go out as bytes, and their callers decode them.
 */
#include <string.h>

#include "nif/atoms.h"
#include "nif/budget.h"
#include "nif/frame.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/refs.h"
#include "nif/send.h"
#include "nif/started.h"
#include "wire/clock.h"
#include "wire/kinds.h"

enum {
    HANDED_OUT = 16 * 1024, /* bytes of answers that their callers decode */
    NOTE = 512,             /* bytes of a frame of ours */
    MOST_FRAMES = 256,      /* in one turn */
    UNITS_PER_FRAME = 30,   /* of the budget */
};

static bool lane_of(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel) {
    return pc_channel_get(env, term, channel) && (*channel)->lane != NULL;
}

static bool read_lane(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel, ErlNifPid *self) {
    return lane_of(env, term, channel) && enif_self(env, self) != NULL &&
           enif_compare_pids(self, &(*channel)->reader) == 0;
}

static bool controlled_lane(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel) {
    return lane_of(env, term, channel) && pc_channel_is_controller(env, *channel);
}

/* ---- Sending */

static void tell_lost(ErlNifEnv *env, struct pc_channel *c) {
    pc_lane_stop(c->lane);
    pc_channel_tell_controller(env, c, enif_alloc_env(), am_lost);
}

void pc_channel_flush_lane(ErlNifEnv *env, struct pc_channel *c, bool unblock) {
    switch (pc_lane_flush(c->lane, unblock)) {
    case PC_IO_AGAIN:
        if (enif_select(env, c->fd, ERL_NIF_SELECT_WRITE, c, &c->reader, am_undefined) < 0) {
            tell_lost(env, c);
        }
        break;
    case PC_IO_EOF:
        tell_lost(env, c);
        break;
    default:
        break;
    }
    pc_lane_unpin(c->lane, pc_lane_actor(env));
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

void pc_channel_lend(ErlNifEnv *env, struct pc_channel *c) {
    if (pc_machine_enter(&c->machine, PC_FREE) == 0) {
        return; /* condemned while it lay free; its process takes it off the table */
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

/* Whoever keeps the balance may want to know that this worker has nothing to do. */
static void say_idle(ErlNifEnv *env, struct pc_channel *c) {
    struct pc_dispatcher *dispatcher = pc_dispatcher_of(c->lane);
    if (pc_dispatch_is_uneven(&dispatcher->d)) {
        ErlNifEnv *message = enif_alloc_env();
        pc_send(env, &dispatcher->pool, message, enif_make_tuple2(message, am_pitcrew_dispatch, am_uneven));
    }
}

/* After calls of a lane have ended: its process may be waiting for the last one. */
static void say_drained(ErlNifEnv *env, struct pc_channel *c) {
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
        say_idle(env, c); /* no answer comes after which its reader would do so */
        say_drained(env, c);
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

/* A small frame of ours. */
struct note {
    uint8_t bytes[NOTE];
    struct pc_writer w;
    size_t mark;
};

static struct pc_writer *note_begin(struct note *note) {
    pc_writer_init(&note->w, note->bytes, sizeof note->bytes, sizeof note->bytes, NULL, NULL);
    note->mark = pc_write_frame_begin(&note->w);
    return &note->w;
}

static bool note_append(struct note *note, struct pc_lane *lane, bool only_idle) {
    pc_write_frame_end(&note->w, note->mark);
    return pc_lane_append(lane, note->w.data, note->w.len, only_idle);
}

ERL_NIF_TERM nif_lane_shutdown(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    struct note note;
    if (!controlled_lane(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    struct pc_writer *w = note_begin(&note);
    pc_write_array(w, 2);
    pc_write_uint(w, PC_KIND_SHUTDOWN);
    pc_write_uint(w, 0);
    if (!pc_lane_pin(c->lane, pc_lane_actor(env))) {
        return am_busy;
    }
    bool idle = note_append(&note, c->lane, true);
    pc_channel_flush_lane(env, c, false);
    return idle ? am_ok : am_busy;
}

/* ---- Reading */

/* The value as bytes, for the caller to decode. Those of a large frame are the inbox's memory, which the frame then takes along. */
static bool value_bytes(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f, bool *is_taken,
                        ERL_NIF_TERM *bytes) {
    if (f->n > PC_INLINE_BYTES) {
        ERL_NIF_TERM payload = pc_frame_take(env, in, f);
        if (payload != 0) {
            *is_taken = true;
            *bytes = enif_make_sub_binary(env, payload, (size_t)(f->value - f->payload), f->size);
            return true;
        }
    }
    return pc_term_make_binary(env, f->value, f->size, bytes);
}

/* The caller decodes these, and the lease goes with them. */
static ERL_NIF_TERM make_frame(struct pc_job *job, struct pc_channel *c, const struct pc_frame *f, ERL_NIF_TERM bytes) {
    ErlNifEnv *env = job->env;
    ERL_NIF_TERM kind = pc_frame_kind(f);
    ERL_NIF_TERM python_ns = enif_make_int64(env, f->python_ns);
    ERL_NIF_TERM size = pc_frame_bytes(env, f);
    struct pc_lease *lease = f->has_refs ? pc_lease_new(c, f->id) : NULL;
    if (lease == NULL) {
        return enif_make_tuple5(env, f->json ? am_json : am_frame, kind, python_ns, size, bytes);
    }
    ERL_NIF_TERM handle = pc_lease_term(env, lease);
    pc_lease_release(lease);
    return enif_make_tuple6(env, am_frame, kind, python_ns, size, bytes, handle);
}

/* What the caller of `job` is told. */
static ERL_NIF_TERM make_answer(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                                bool *is_taken) {
    ErlNifEnv *env = job->env;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    ERL_NIF_TERM value;
    if (!f->json && f->n <= HANDED_OUT && !f->has_refs) {
        enum pc_status status = pc_term_decode_within(env, &f->r, &job->opts, budget, NULL, &value, &err);
        if (status == PC_OK) {
            return enif_make_tuple4(env, pc_frame_kind(f), enif_make_int64(env, f->python_ns), pc_frame_bytes(env, f),
                                    value);
        }
        if (status != PC_BUDGET) {
            return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_decode_error, &err));
        }
    }
    if (!value_bytes(env, &c->in, f, is_taken, &value)) {
        (void)pc_term_refuse(env, &err, PC_NO_MEMORY);
        pc_channel_drop_refs(c, f->has_refs, f->id);
        return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_decode_error, &err));
    }
    budget->units -= (int64_t)(f->size / PC_COPIED_PER_UNIT);
    return make_frame(job, c, f, value);
}

/* An error frame for a kind that is not known. */
static void refuse_kind(struct pc_channel *c, const struct pc_frame *f) {
    struct note note;
    pc_frame_refuse(note_begin(&note), f);
    (void)note_append(&note, c->lane, false); /* without memory for it, it is only not said */
}

/* Drops a frame that ends no call, which is answered if its kind is not known. False after too many of them. */
static bool drop_stray(struct pc_channel *c, const struct pc_frame *f, bool unknown) {
    if (c->strays == PC_MOST_STRAYS) {
        return false;
    }
    c->strays++;
    if (unknown) {
        refuse_kind(c, f);
    }
    pc_inbox_consume(&c->in);
    return true;
}

/* Sends one frame on to whom it concerns; false if nothing that follows can be understood. */
static bool deliver_frame(ErlNifEnv *env, struct pc_channel *c, struct pc_frame *f, int64_t now,
                          struct pc_budget *budget) {
    bool left, known;
    bool is_taken = false;
    if (!pc_frame_open(f)) {
        return false;
    }
    if (f->kind != PC_KIND_REPLY && f->kind != PC_KIND_ERROR) {
        return drop_stray(c, f, true);
    }
    if (!pc_frame_answer(f)) {
        return false;
    }
    struct pc_job *job =
        (struct pc_job *)pc_lane_take(c->lane, f->id, f->json ? PC_JSON : PC_MESSAGEPACK, now, &left, &known);
    if (job == NULL) {
        pc_channel_drop_refs(c, known && f->has_refs, f->id);
        return known && drop_stray(c, f, false);
    }
    c->strays = 0;
    if (left) {
        pc_channel_drop_refs(c, f->has_refs, f->id);
        pc_job_drop(job);
    } else {
        pc_job_end(env, job, make_answer(job, c, f, budget, &is_taken));
    }
    if (!is_taken) {
        pc_inbox_consume(&c->in);
    }
    return true;
}

/* Reads and delivers until there is nothing left, or enough is done for one turn; *n counts the frames. */
static enum pc_io deliver_all(ErlNifEnv *env, struct pc_channel *c, struct pc_budget *budget, unsigned *n) {
    int64_t now = pc_clock_ns();
    size_t share = PC_SHARE;
    if (c->deaf) {
        return PC_IO_BAD;
    }
    for (*n = 0; *n < MOST_FRAMES && budget->units > 0; ++*n) {
        if (*n > 0 && !pc_inbox_whole(&c->in)) {
            return PC_IO_MORE; /* most likely there is nothing: it is looked for in the next turn */
        }
        struct pc_frame f = {.payload = NULL};
        uint64_t before = c->in.total;
        enum pc_io io = pc_inbox_read(&c->in, c->fd, c->max_frame, share, &f.payload, &f.n);
        share -= (size_t)(c->in.total - before);
        budget->units -= (int64_t)((c->in.total - before) / PC_COPIED_PER_UNIT) + UNITS_PER_FRAME;
        if (io != PC_IO_DONE) {
            return io;
        }
        if (!deliver_frame(env, c, &f, now, budget)) {
            return PC_IO_BAD;
        }
    }
    return PC_IO_MORE;
}

static bool is_lent(const struct pc_channel *c) { return pc_dispatcher_of(c->lane)->slots != NULL; }

/* One that has nothing more to do is a free slot again, perhaps to be lent again at once. Unpinned if so. */
static bool give_back(ErlNifEnv *env, struct pc_channel *c) {
    uint64_t last_id;
    if (!pc_lane_return(c->lane, pc_lane_actor(env), &last_id)) {
        return false;
    }
    c->call_id = last_id;
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_FREE, false);
    return true;
}

ERL_NIF_TERM nif_lane_deliver(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    struct pc_budget budget;
    unsigned n;
    if (!read_lane(env, argv[0], &c, &self) || !enif_is_ref(env, argv[1])) {
        return enif_make_badarg(env);
    }
    if (!pc_lane_pin(c->lane, pc_lane_actor(env))) {
        return am_idle; /* lent back, or closed */
    }
    pc_budget_init(&budget, 0);
    enum pc_io io = deliver_all(env, c, &budget, &n);
    pc_budget_account(env, &budget);
    say_drained(env, c);
    pc_channel_wear(env, c);
    ERL_NIF_TERM answer = am_more;
    if (io == PC_IO_BAD) {
        c->deaf = true;
        (void)pc_lane_silence(c->lane);
    }
    if (io == PC_IO_EOF || io == PC_IO_BAD) {
        tell_lost(env, c);
        answer = am_lost;
    } else if (is_lent(c) && give_back(env, c)) {
        return am_idle;
    } else if (io == PC_IO_AGAIN && n == 0 && (!is_lent(c) || pc_lane_awaits(c->lane))) {
        say_idle(env, c);
        answer = enif_select(env, c->fd, ERL_NIF_SELECT_READ, c, &self, argv[1]) < 0 ? am_lost : am_again;
    }
    pc_channel_flush_lane(env, c, false);
    return answer;
}

ERL_NIF_TERM nif_lane_flush(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    if (!read_lane(env, argv[0], &c, &self)) {
        return enif_make_badarg(env);
    }
    if (pc_lane_pin(c->lane, pc_lane_actor(env))) {
        pc_channel_flush_lane(env, c, true);
    }
    return am_ok;
}

ERL_NIF_TERM nif_lane_rest(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    if (!read_lane(env, argv[0], &c, &self)) {
        return enif_make_badarg(env);
    }
    if (pc_lane_pin(c->lane, pc_lane_actor(env))) {
        (void)enif_select(env, c->fd, ERL_NIF_SELECT_READ | ERL_NIF_SELECT_CANCEL, c, NULL, am_undefined);
        pc_lane_unpin(c->lane, pc_lane_actor(env));
    }
    return am_ok;
}

ERL_NIF_TERM nif_lane_recover(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    const uint8_t *data;
    if (!read_lane(env, argv[0], &c, &self)) {
        return enif_make_badarg(env);
    }
    size_t n = c->started == NULL ? 0 : pc_started_unsent(c->started, c->in.total - c->stream, &data);
    if (n > 0) {
        (void)pc_inbox_append(&c->in, data, n); /* without memory for them the calls end as those of a dead worker */
    }
    return am_ok;
}
