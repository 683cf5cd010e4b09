/*
 * Reading the answer to a call: each function is one stay inside the channel's machine (docs/protocol.md, section 3). A value in
 * MessagePack is decoded where it lies; one in JSON is handed out as text, for pitcrew_json_nif. Work that does not fit a
 * normal scheduler leaves and enters again on a dirty one, where the frame still stands in the inbox.
 */
#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/frame.h"
#include "nif/frame_memory.h"
#include "nif/nif.h"
#include "nif/parcel.h"
#include "nif/refs.h"
#include "nif/term.h"
#include "wire/kinds.h"

struct reply_args {
    struct pc_channel *c;
    ErlNifPid self;
    ERL_NIF_TERM ref;
    struct pc_term_opts opts;
};

/* ---- Frames */

enum frame_kind { FRAME_RESULT, FRAME_SKIP, FRAME_UNKNOWN, FRAME_CALL, FRAME_BAD, FRAME_BUDGET };

/* Takes the frame's memory from the inbox, so that large binaries in it need not be copied; without memory for that they are. */
static void share_memory(ErlNifEnv *env, struct pc_inbox *in, struct pc_frame *f, struct pc_term_opts *opts,
                         bool *is_taken) {
    ERL_NIF_TERM source = pc_frame_memory_take(env, in, f);
    if (source != 0) {
        *is_taken = true;
        opts->source = source;
        opts->origin = f->payload;
        opts->share_least = f->n / PC_FRAME_MOST_WASTED;
    }
}

/* What the frame names in shared memory, taken once, however often its decoding is begun. */
static struct pc_parcel *take_parcel(const struct reply_args *a, const struct pc_frame *f) {
    struct pc_channel *c = a->c;
    if (c->parcel == NULL && c->buffers != NULL && f->segments.count > 0) {
        c->parcel = pc_parcel_new(c->buffers, &f->segments, &a->self, a->opts.copy_binaries);
    }
    return c->parcel;
}

static void drop_parcel(struct pc_channel *c) {
    if (c->parcel != NULL) {
        pc_parcel_end(c->parcel);
        pc_parcel_release(c->parcel);
        c->parcel = NULL;
    }
}

static enum frame_kind decode_packed(ErlNifEnv *env, const struct reply_args *a, struct pc_frame *f,
                                     struct pc_budget *budget, bool *is_taken, ERL_NIF_TERM *result) {
    struct pc_term_opts opts = a->opts;
    if (budget == NULL && f->n > PC_INLINE_BYTES && !opts.copy_binaries) {
        share_memory(env, &a->c->in, f, &opts, is_taken);
    }
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    ERL_NIF_TERM value;
    opts.lease = f->has_refs ? pc_lease_new(a->c, f->id) : NULL;
    opts.parcel = take_parcel(a, f);
    int64_t begin = pc_channel_codec_begin(a->c, opts.timed, budget != NULL);
    enum pc_status status = pc_term_decode_within(env, &f->r, &opts, budget, NULL, &value, &err);
    pc_channel_codec_end(a->c, begin);
    if (opts.lease != NULL) {
        if (status == PC_OK) {
            pc_lease_end(opts.lease);
        } else if (status == PC_BUDGET) {
            pc_lease_abandon(opts.lease);
        }
        pc_lease_release(opts.lease);
    }
    if (status == PC_BUDGET) {
        return FRAME_BUDGET;
    }
    drop_parcel(a->c);
    if (status != PC_OK) {
        *result = enif_make_tuple2(env, am_error, pc_term_error_make(env, am_decode_error, &err));
        return FRAME_RESULT;
    }
    ERL_NIF_TERM times = pc_frame_times(env, f, opts.timed, a->c->codec_ns);
    *result = enif_make_tuple4(env, pc_frame_kind(f), times, pc_frame_bytes(env, f), value);
    return FRAME_RESULT;
}

/* A frame that is too large to be copied here does not come here: see `advance`. */
static enum frame_kind copy_text(ErlNifEnv *env, const struct pc_frame *f, struct pc_budget *budget,
                                 ERL_NIF_TERM *result) {
    ERL_NIF_TERM text;
    if (!pc_term_make_binary(env, f->value, f->size, &text)) {
        return FRAME_BAD;
    }
    if (budget != NULL) {
        budget->units -= (int64_t)(f->size / PC_COPIED_PER_UNIT);
    }
    *result = enif_make_tuple5(env, am_json, pc_frame_kind(f), enif_make_int64(env, f->python_ns),
                               pc_frame_bytes(env, f), text);
    return FRAME_RESULT;
}

/* Reads the frame; its value goes into *result when it is this call's end. */
static enum frame_kind read_frame(ErlNifEnv *env, const struct reply_args *a, struct pc_frame *f,
                                  struct pc_budget *budget, bool *is_taken, ERL_NIF_TERM *result) {
    if (!pc_frame_open(f)) {
        return FRAME_BAD;
    }
    if (f->kind == PC_KIND_CALL && !f->json && a->c->lane != NULL) {
        return FRAME_CALL;
    }
    if (f->kind != PC_KIND_REPLY && f->kind != PC_KIND_ERROR) {
        return FRAME_UNKNOWN;
    }
    if (f->id < a->c->call_id) {
        if (pc_frame_answer(f)) { /* its references may be somebody's, who has had this answer before */
            pc_parcel_refuse(a->c->buffers, &f->segments);
        }
        return FRAME_SKIP;
    }
    if (f->id > a->c->call_id || f->json != a->c->json) {
        return FRAME_BAD;
    }
    if (!pc_frame_answer(f)) {
        return FRAME_BAD;
    }
    if (a->c->adopted) {
        drop_parcel(a->c); /* if the decoding had begun */
        pc_channel_drop_frame(a->c, f);
        *result = am_dropped;
        return FRAME_RESULT;
    }
    return f->json ? copy_text(env, f, budget, result) : decode_packed(env, a, f, budget, is_taken, result);
}

/* The error goes out with the next flush. */
static void refuse_kind(struct pc_channel *c, const struct pc_frame *f) {
    size_t mark = pc_outbox_begin(&c->out, c->max_frame);
    pc_frame_refuse(&c->out.w, f);
    (void)pc_outbox_end(&c->out, mark); /* without memory for it, it is only not said */
}

static void refuse_call(struct pc_channel *c, const struct pc_frame *f) {
    size_t mark = pc_outbox_begin(&c->out, c->max_frame);
    pc_frame_error_write(&c->out.w, f->id, "gone", "nobody waits for the call any more");
    (void)pc_outbox_end(&c->out, mark); /* without memory for it the worker waits for as long as its call may */
}

/* ---- Ways out of the machine */

static ERL_NIF_TERM lost(ErlNifEnv *env, struct pc_channel *c, uint32_t phase) {
    pc_machine_leave(&c->machine, pc_channel_actor(env), phase, true);
    return am_lost;
}

/* The call has ended with a result; inside. */
static ERL_NIF_TERM conclude(ErlNifEnv *env, struct pc_channel *c, uint32_t phase, ERL_NIF_TERM result) {
    if (pc_outbox_pending(&c->out) > 0) {
        return lost(env, c, phase); /* an answer to a question that is not out yet */
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, false);
    return result;
}

/* The worker calls the VM. The frame stays where it is, for whom the owner leaves the channel to: nif_take_over.c. */
static ERL_NIF_TERM called(ErlNifEnv *env, struct pc_channel *c, uint32_t phase) {
    if (pc_outbox_pending(&c->out) > 0) {
        return lost(env, c, phase); /* before it had all of its own call */
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), pc_channel_waits(c, PC_READING), false);
    return am_called;
}

/* ---- reply/3 */

/* Sends and reads what there is; with a budget, false when the rest is work for a dirty scheduler. Inside; leaves, but then. */
static bool advance(ErlNifEnv *env, const struct reply_args *a, uint32_t phase, struct pc_budget *budget,
                    ERL_NIF_TERM *answer) {
    struct pc_channel *c = a->c;
    for (; c->strays <= PC_MOST_STRAYS; c->strays++) {
        if (pc_channel_flush(c) == PC_IO_EOF) {
            *answer = lost(env, c, phase);
            return true;
        }
        struct pc_frame f = {.payload = NULL, .n = 0};
        bool is_taken = false;
        enum pc_io io =
            pc_inbox_read(&c->in, c->fd, c->max_frame, budget != NULL ? PC_SHARE : SIZE_MAX, &f.payload, &f.n);
        if (io == PC_IO_AGAIN) {
            *answer = pc_channel_await(env, c, &a->self, a->ref) ? am_again : am_lost;
            return true;
        }
        if (io == PC_IO_MORE || (io == PC_IO_DONE && budget != NULL && f.n > PC_INLINE_BYTES)) {
            return false;
        }
        if (io != PC_IO_DONE) {
            *answer = lost(env, c, phase);
            return true;
        }
        ERL_NIF_TERM result = am_lost;
        switch (read_frame(env, a, &f, budget, &is_taken, &result)) {
        case FRAME_RESULT:
            if (!is_taken) {
                pc_inbox_consume(&c->in);
            }
            c->strays = 0;
            *answer = conclude(env, c, phase, result);
            return true;
        case FRAME_SKIP:
            pc_inbox_consume(&c->in);
            break;
        case FRAME_UNKNOWN:
            pc_inbox_consume(&c->in);
            refuse_kind(c, &f);
            break;
        case FRAME_CALL:
            if (!c->adopted) {
                *answer = called(env, c, phase);
                return true;
            }
            refuse_call(c, &f);
            pc_inbox_consume(&c->in);
            break;
        case FRAME_BAD:
            *answer = lost(env, c, phase);
            return true;
        case FRAME_BUDGET:
            return false; /* the frame stays where it is */
        }
    }
    *answer = lost(env, c, phase); /* a flood of frames that are no answer */
    return true;
}

static ERL_NIF_TERM reply_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    struct reply_args a = {.ref = argv[1]};
    if (!pc_channel_get(env, argv[0], &a.c) || !enif_is_ref(env, a.ref) || !pc_term_opts_read(env, argv[2], &a.opts) ||
        !pc_channel_is_owner(env, a.c, &a.self)) {
        return enif_make_badarg(env);
    }
    uint32_t phase = pc_machine_enter(&a.c->machine, PC_OUTSTANDING);
    if (phase == 0) {
        /* The first stay has answered the select message, so the second one must not leave it to the verdict to count it. */
        return budget != NULL ? am_poisoned : am_lost;
    }
    if (budget != NULL) {
        pc_channel_answered(env, a.c);
    }
    ERL_NIF_TERM answer;
    if (advance(env, &a, phase, budget, &answer)) {
        return answer;
    }
    /* An owner that dies now cuts, though its tool has ended: on the dirty scheduler it may be on its way in. */
    pc_machine_leave(&a.c->machine, pc_channel_actor(env), PC_READING, false);
    return enif_schedule_nif(env, "reply", ERL_NIF_DIRTY_JOB_CPU_BOUND, reply_dirty, argc, argv);
}

static ERL_NIF_TERM reply_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return reply(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return pc_budget_run(env, argc, argv, reply);
}
