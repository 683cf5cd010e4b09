/*
 * A lane's reader: one process for each lane, which takes answers from the socket and sends each to the caller that waits for it, and chunks of
 * streams to those who consume them.
 */
#include "nif/atoms.h"
#include "nif/budget.h"
#include "nif/frame.h"
#include "nif/gather.h"
#include "nif/lane.h"
#include "nif/lane_answer.h"
#include "nif/lane_function.h"
#include "nif/nif.h"
#include "nif/note.h"
#include "nif/started.h"
#include "wire/clock.h"
#include "wire/kinds.h"

enum {
    MOST_FRAMES = 256,    /* in one turn */
    UNITS_PER_FRAME = 30, /* of the budget */
};

/* A channel whose reader is the calling process, which goes into *self. */
static bool read_lane(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel, ErlNifPid *self) {
    return pc_channel_get(env, term, channel) && (*channel)->lane != NULL && enif_self(env, self) != NULL &&
           enif_compare_pids(self, &(*channel)->reader) == 0;
}

/* An error frame for a kind that is not known. */
static void refuse_kind(struct pc_channel *c, const struct pc_frame *f) {
    struct pc_note note;
    pc_frame_refuse(pc_note_begin(&note), f);
    (void)pc_note_append(&note, c->lane, false); /* without memory for it, it is only not said */
}

/* A frame that ends no call is answered if its kind is not known. False after too many of them. */
static bool pass_stray(struct pc_channel *c, const struct pc_frame *f, bool unknown) {
    if (c->strays == PC_MOST_STRAYS) {
        return false;
    }
    c->strays++;
    if (unknown) {
        refuse_kind(c, f);
    }
    return true;
}

static bool deliver_chunk(ErlNifEnv *env, struct pc_gather *gather, struct pc_frame *f, struct pc_budget *budget,
                          bool *is_taken) {
    if (!pc_frame_answer(f) || !pc_gather_add(env, gather, f, budget, is_taken)) {
        return false;
    }
    gather->c->strays = 0;
    return true;
}

/* A worker that calls what is not there gets told so, but not for ever. */
static bool deliver_function(ErlNifEnv *env, struct pc_channel *c, struct pc_frame *f, bool *is_taken) {
    switch (pc_lane_function(env, c, f, is_taken)) {
    case PC_FUNCTION_CALLED:
        c->strays = 0;
        return true;
    case PC_FUNCTION_GONE:
        return pass_stray(c, f, false);
    default:
        return false;
    }
}

/*
 * Sends one frame on to whom it concerns; false if nothing that follows can be understood. With *is_taken its memory is gone from the inbox, and
 * the frame with it.
 */
static bool deliver_frame(ErlNifEnv *env, struct pc_gather *gather, struct pc_frame *f, int64_t now,
                          struct pc_budget *budget, bool *is_taken) {
    struct pc_channel *c = gather->c;
    bool left, known;
    if (!pc_frame_open(f)) {
        return false;
    }
    if (f->kind == PC_KIND_CHUNK) {
        return deliver_chunk(env, gather, f, budget, is_taken);
    }
    if (!pc_gather_send(env, gather)) {
        return false;
    }
    if (f->kind == PC_KIND_CALL && !f->json) {
        return deliver_function(env, c, f, is_taken);
    }
    if (f->kind != PC_KIND_REPLY && f->kind != PC_KIND_ERROR) {
        return pass_stray(c, f, true);
    }
    if (!pc_frame_answer(f)) {
        return false;
    }
    struct pc_job *job =
        (struct pc_job *)pc_lane_take(c->lane, f->id, f->json ? PC_JSON : PC_MESSAGEPACK, now, &left, &known);
    if (job == NULL && !known) {
        return false;
    }
    if (job == NULL) {
        pc_channel_drop_frame(c, f);
        return pass_stray(c, f, false);
    }
    c->strays = 0;
    if (left) {
        pc_channel_drop_frame(c, f);
        pc_job_drop(job);
    } else {
        pc_job_end(env, job, pc_lane_answer(job, c, f, budget, is_taken));
    }
    return true;
}

/* Reads and delivers until there is nothing left, or enough is done for one turn; *n counts the frames. */
static enum pc_io deliver_some(ErlNifEnv *env, struct pc_gather *gather, struct pc_budget *budget, unsigned *n) {
    struct pc_channel *c = gather->c;
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
        bool is_taken = false;
        if (!deliver_frame(env, gather, &f, now, budget, &is_taken)) {
            return PC_IO_BAD;
        }
        if (!is_taken) {
            pc_inbox_consume(&c->in);
        }
    }
    return PC_IO_MORE;
}

static enum pc_io deliver_all(ErlNifEnv *env, struct pc_channel *c, struct pc_budget *budget, unsigned *n) {
    struct pc_gather gather;
    pc_gather_init(&gather, c);
    enum pc_io io = deliver_some(env, &gather, budget, n);
    return pc_gather_send(env, &gather) ? io : PC_IO_BAD;
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
    pc_lane_say_drained(env, c);
    pc_channel_wear(env, c);
    ERL_NIF_TERM answer = am_more;
    if (io == PC_IO_BAD) {
        c->deaf = true;
        (void)pc_lane_silence(c->lane);
    }
    if (io == PC_IO_EOF || io == PC_IO_BAD) {
        pc_lane_say_lost(env, c);
        answer = am_lost;
    } else if (is_lent(c) && give_back(env, c)) {
        return am_idle;
    } else if (io == PC_IO_AGAIN && n == 0 && (!is_lent(c) || pc_lane_awaits(c->lane))) {
        pc_lane_say_idle(env, c);
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
