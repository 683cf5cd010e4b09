/*
 * One stay inside the channel's machine (docs/protocol.md, section 3), from `claimed` to `writing` or `waiting`. Work that does
 * not fit a normal scheduler leaves and enters again on a dirty one; the owner, whose calls are sequential, is the same there.
 */
#include "nif/sending.h"

#include "codec/limits.h"
#include "nif/atoms.h"
#include "wire/clock.h"

/* A poll takes a part of the millisecond that a stay may last. */
enum { MOST_SPIN_NS = 200 * 1000 };

bool pc_sending_read(ErlNifEnv *env, ERL_NIF_TERM channel, ERL_NIF_TERM ref, ERL_NIF_TERM max_frame,
                     ERL_NIF_TERM spin_ns, struct pc_sending *s) {
    s->ref = ref;
    return pc_channel_get(env, channel, &s->c) && enif_is_ref(env, ref) &&
           enif_get_uint64(env, max_frame, &s->max_frame) && s->max_frame <= PC_MAX_FRAME &&
           enif_get_int64(env, spin_ns, &s->spin_ns) && s->spin_ns >= 0 && s->spin_ns <= MOST_SPIN_NS &&
           pc_channel_is_owner(env, s->c, &s->self);
}

/* The frame into the outbox, or nothing of it. */
static enum pc_status fill(ErlNifEnv *env, struct pc_sending *s, struct pc_budget *budget, struct pc_term_error *err) {
    size_t mark = pc_outbox_begin(&s->c->out, s->max_frame);
    int64_t begin = pc_channel_codec_begin(s->c, s->timed, budget != NULL);
    enum pc_status status = s->write(env, s, budget, err);
    pc_channel_codec_end(s->c, begin);
    if (status == PC_OK) {
        /* The writer has not failed, and so nor does this: PC_MAX_FRAME is below 4 GiB. */
        (void)pc_outbox_end(&s->c->out, mark);
    } else {
        pc_outbox_undo(&s->c->out, mark);
        pc_channel_drop_parts(s->c);
    }
    return status;
}

/*
 * Polls for the answer if that is likely to be cheaper than to sleep; whether something came, be it an end of file. What came is
 * in the inbox, for reply/3 to look at.
 */
static bool poll_answer(const struct pc_sending *s, struct pc_budget *budget) {
    struct pc_channel *c = s->c;
    const uint8_t *payload;
    size_t n;
    c->spin.limit_ns = s->spin_ns;
    if (!pc_spin_pays(&c->spin)) {
        return false;
    }
    enum pc_io io = PC_IO_AGAIN;
    int64_t begin = pc_clock_ns();
    int64_t waited = 0;
    while (io == PC_IO_AGAIN && waited < s->spin_ns) {
        io = pc_inbox_read(&c->in, c->fd, c->max_frame, PC_SHARE, &payload, &n);
        waited = pc_clock_ns() - begin;
    }
    budget->units -= waited / PC_BUDGET_UNIT_NS;
    pc_spin_done(&c->spin, io == PC_IO_AGAIN);
    return io != PC_IO_AGAIN;
}

/* Writes what the socket takes and leaves with a select armed, or with something to read; inside. */
static ERL_NIF_TERM flush(ErlNifEnv *env, const struct pc_sending *s, struct pc_budget *budget) {
    struct pc_channel *c = s->c;
    ERL_NIF_TERM bytes = enif_make_uint64(env, pc_outbox_pending(&c->out) + s->apart);
    if (s->timed) {
        bytes = enif_make_tuple2(env, bytes, enif_make_int64(env, c->codec_ns));
        c->codec_ns = 0; /* the answer may be decoded on a dirty scheduler from the beginning */
    }
    pc_channel_keep_ref(c, s->ref);
    c->call_id++;
    c->calls++;
    pc_channel_wear(env, c);
    c->json = s->json;
    enum pc_io io = pc_channel_flush(c);
    if (io == PC_IO_EOF && c->out.sent == 0) {
        /* Nothing of it has left: not begun, so the caller may go to another worker. */
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, true);
        return am_poisoned;
    }
    if (io == PC_IO_DONE && budget != NULL && poll_answer(s, budget)) {
        pc_machine_leave(&c->machine, pc_channel_actor(env), pc_channel_waits(c, PC_READING), false);
        return enif_make_tuple2(env, am_ready, bytes);
    }
    if (io == PC_IO_EOF) {
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_WAITING, true);
    } else {
        (void)pc_channel_await(env, c, &s->self, s->ref); /* if that fails, the verdict will come instead */
    }
    return enif_make_tuple2(env, io == PC_IO_AGAIN ? am_pending : am_ok, bytes);
}

bool pc_sending_run(ErlNifEnv *env, struct pc_sending *s, struct pc_budget *budget, ERL_NIF_TERM *answer) {
    if (pc_machine_enter(&s->c->machine, budget != NULL ? PC_CLAIMED : PC_WRITING) == 0) {
        *answer = am_poisoned;
        return true;
    }
    s->c->max_frame = s->max_frame; /* for the answer, too */
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    switch (fill(env, s, budget, &err)) {
    case PC_OK:
        *answer = flush(env, s, budget);
        return true;
    case PC_BUDGET:
        /* Outstanding from here: an owner that dies now cuts, so the slot has no other owner when we come back. */
        pc_channel_keep_ref(s->c, s->ref);
        pc_machine_leave(&s->c->machine, pc_channel_actor(env), PC_WRITING, false);
        return false;
    default:
        pc_machine_leave(&s->c->machine, pc_channel_actor(env), PC_CLAIMED, false);
        *answer = enif_make_tuple2(env, am_error, pc_term_error_make(env, am_encode_error, &err));
        return true;
    }
}
