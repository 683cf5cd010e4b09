/*
 * A lane's reader: one process for each lane, which takes answers from the socket and sends each to the caller that waits for it. Small answers
 * are decoded here; large ones go out as bytes, and their callers decode them.
 */
#include "nif/atoms.h"
#include "nif/budget.h"
#include "nif/frame.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/note.h"
#include "nif/parcel.h"
#include "nif/refs.h"
#include "nif/started.h"
#include "wire/clock.h"
#include "wire/kinds.h"

enum {
    HANDED_OUT = 16 * 1024, /* bytes of answers that their callers decode */
    MOST_FRAMES = 256,      /* in one turn */
    UNITS_PER_FRAME = 30,   /* of the budget */
};

/* A channel whose reader is the calling process, which goes into *self. */
static bool read_lane(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel, ErlNifPid *self) {
    return pc_channel_get(env, term, channel) && (*channel)->lane != NULL && enif_self(env, self) != NULL &&
           enif_compare_pids(self, &(*channel)->reader) == 0;
}

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

/* Owns the lease; `none` for none. */
static ERL_NIF_TERM lease_term(ErlNifEnv *env, struct pc_lease *lease) {
    if (lease == NULL) {
        return am_none;
    }
    ERL_NIF_TERM handle = pc_lease_term(env, lease);
    pc_lease_release(lease);
    return handle;
}

/* What the frame names in shared memory; `none` without memory for it, and then its decoding fails. */
static ERL_NIF_TERM parcel_term(struct pc_job *job, struct pc_channel *c, const struct pc_frame *f) {
    struct pc_parcel *parcel = pc_parcel_new(c->buffers, &f->segments, &job->owner, job->opts.copy_binaries);
    if (parcel == NULL) {
        pc_parcel_refuse(c->buffers, &f->segments);
        return am_none;
    }
    ERL_NIF_TERM handle = pc_parcel_term(job->env, parcel);
    pc_parcel_release(parcel);
    return handle;
}

/* The caller decodes these, and the lease and what is in shared memory go with them. */
static ERL_NIF_TERM make_frame(struct pc_job *job, struct pc_channel *c, const struct pc_frame *f, ERL_NIF_TERM bytes) {
    ErlNifEnv *env = job->env;
    ERL_NIF_TERM kind = pc_frame_kind(f);
    ERL_NIF_TERM python_ns = enif_make_int64(env, f->python_ns);
    ERL_NIF_TERM size = pc_frame_bytes(env, f);
    struct pc_lease *lease = f->has_refs ? pc_lease_new(c, f->id) : NULL;
    if (f->segments.count > 0 && c->buffers != NULL) {
        return enif_make_tuple7(env, am_frame, kind, python_ns, size, bytes, lease_term(env, lease),
                                parcel_term(job, c, f));
    }
    if (lease == NULL) {
        return enif_make_tuple5(env, f->json ? am_json : am_frame, kind, python_ns, size, bytes);
    }
    return enif_make_tuple6(env, am_frame, kind, python_ns, size, bytes, lease_term(env, lease));
}

/* Nobody will read them. */
static void drop_segments(struct pc_channel *c, const struct pc_frame *f) {
    if (f->segments.count > 0 && c->buffers != NULL) {
        pc_parcel_refuse(c->buffers, &f->segments);
    }
}

/* What the caller of `job` is told. */
static ERL_NIF_TERM make_answer(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                                bool *is_taken) {
    ErlNifEnv *env = job->env;
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    ERL_NIF_TERM value;
    if (!f->json && f->n <= HANDED_OUT && !f->has_refs && f->segments.count == 0) {
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
        drop_segments(c, f);
        return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_decode_error, &err));
    }
    budget->units -= (int64_t)(f->size / PC_COPIED_PER_UNIT);
    return make_frame(job, c, f, value);
}

/* An error frame for a kind that is not known. */
static void refuse_kind(struct pc_channel *c, const struct pc_frame *f) {
    struct pc_note note;
    pc_frame_refuse(pc_note_begin(&note), f);
    (void)pc_note_append(&note, c->lane, false); /* without memory for it, it is only not said */
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
        drop_segments(c, f);
        return known && drop_stray(c, f, false);
    }
    c->strays = 0;
    if (left) {
        pc_channel_drop_refs(c, f->has_refs, f->id);
        drop_segments(c, f);
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
