/*
 * The path of a call: claim a slot, write the call, read the reply, leave. Each function is one stay inside the
 * channel's machine (docs/protocol.md, section 3). Work that does not fit a normal scheduler leaves and enters again on a
 * dirty one; the owner, whose calls are sequential, is the same there.
 */
#include "nif/nif.h"

#include "codec/limits.h"
#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/term.h"
#include "wire/kinds.h"

/* Bytes read from a socket in one stay on a normal scheduler. */
enum { SHARE = 256 * 1024 };

/* Frames that are no answer to the call, in one stay. */
enum { MOST_STRAYS = 1000 };

struct call_args {
    struct pc_channel *c;
    ErlNifPid self;
    ERL_NIF_TERM ref;
    ErlNifBinary tool;
    ERL_NIF_TERM args, kwargs, meta;
    struct pc_term_opts opts;
    ErlNifUInt64 max_frame;
};

static bool is_owner(ErlNifEnv *env, const struct pc_channel *c, ErlNifPid *self) {
    return enif_self(env, self) != NULL && enif_compare_pids(self, &c->owner) == 0;
}

/* ---- claim ---- */

static ERL_NIF_TERM claim(ErlNifEnv *env, struct pc_slots *slots, const ErlNifPid *pid, bool queue_first) {
    struct pc_channel *c;
    unsigned index;
    while ((c = pc_slots_take(slots, queue_first, &index)) != NULL) {
        if (pc_machine_enter(&c->machine, PC_FREE) == 0) {
            enif_release_resource(c); /* condemned while it lay free; its process takes it off the table */
            continue;
        }
        c->owner = *pid;
        bool dead = enif_monitor_process(env, c, pid, &c->owner_monitor) != 0;
        ERL_NIF_TERM result =
            dead ? am_noproc : enif_make_tuple3(env, am_ok, enif_make_resource(env, c), enif_make_uint(env, index));
        pc_machine_leave(&c->machine, pc_channel_actor(env), dead ? PC_FREE : PC_CLAIMED, false);
        enif_release_resource(c);
        return result;
    }
    return am_busy;
}

ERL_NIF_TERM nif_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *slots;
    ErlNifPid self;
    if (!pc_slots_get(env, argv[0], &slots) || enif_self(env, &self) == NULL) {
        return enif_make_badarg(env);
    }
    return claim(env, slots, &self, true);
}

ERL_NIF_TERM nif_claim_for(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *slots;
    ErlNifPid pid;
    if (!pc_slots_get(env, argv[0], &slots) || !enif_get_local_pid(env, argv[1], &pid)) {
        return enif_make_badarg(env);
    }
    return claim(env, slots, &pid, false);
}

/* ---- call ---- */

static bool call_args_read(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct call_args *a) {
    a->ref = argv[1];
    a->args = argv[3];
    a->kwargs = argv[4];
    a->meta = argv[5];
    return pc_channel_get(env, argv[0], &a->c) && enif_is_ref(env, a->ref) &&
           enif_inspect_binary(env, argv[2], &a->tool) && enif_is_list(env, a->args) &&
           (enif_is_map(env, a->kwargs) || enif_is_identical(a->kwargs, am_nil)) &&
           (enif_is_map(env, a->meta) || enif_is_identical(a->meta, am_nil)) &&
           pc_term_opts_read(env, argv[6], &a->opts) && enif_get_uint64(env, argv[7], &a->max_frame) &&
           a->max_frame <= PC_MAX_FRAME && is_owner(env, a->c, &a->self);
}

/* One part of the call; where it fails, the path starts with the part's name. */
static enum pc_status encode_part(ErlNifEnv *env, const struct call_args *a, ERL_NIF_TERM part, ERL_NIF_TERM name,
                                  struct pc_budget *budget, struct pc_term_error *err) {
    struct pc_term_opts opts = a->opts;
    if (enif_is_identical(part, am_nil)) {
        opts.nil = am_nil; /* our own nil, whatever stands for it in the user's terms */
    }
    enum pc_status status = pc_term_encode(env, &a->c->out.w, part, &opts, budget, err);
    if (status != PC_OK && status != PC_BUDGET) {
        err->path = enif_make_list_cell(env, name, err->path);
    }
    return status;
}

static enum pc_status encode_call(ErlNifEnv *env, const struct call_args *a, struct pc_budget *budget,
                                  struct pc_term_error *err) {
    struct pc_writer *w = &a->c->out.w;
    size_t mark = pc_outbox_begin(&a->c->out, a->max_frame);
    pc_write_array(w, 6);
    pc_write_uint(w, PC_KIND_CALL);
    pc_write_uint(w, a->c->call_id + 1);
    pc_write_str(w, a->tool.data, a->tool.size);
    enum pc_status status = encode_part(env, a, a->args, am_args, budget, err);
    if (status == PC_OK) {
        status = encode_part(env, a, a->kwargs, am_kwargs, budget, err);
    }
    if (status == PC_OK) {
        status = encode_part(env, a, a->meta, am_meta, budget, err);
    }
    if (status != PC_OK) {
        pc_outbox_undo(&a->c->out, mark);
        return status;
    }
    status = pc_outbox_end(&a->c->out, mark);
    if (status != PC_OK) {
        *err = (struct pc_term_error){.status = status, .path = enif_make_list(env, 0)};
        enif_snprintf(err->message, sizeof err->message, "%s", pc_status_text(status));
    }
    return status;
}

/* The reference that whatever is told to the owner of this call carries. */
static void keep_ref(const struct call_args *a) {
    enif_clear_env(a->c->ref_env);
    a->c->ref = enif_make_copy(a->c->ref_env, a->ref);
    a->c->armed = 0;
    a->c->owed = 0;
}

/* Writes what the socket takes and leaves with a select armed; inside. */
static ERL_NIF_TERM send_call(ErlNifEnv *env, const struct call_args *a) {
    struct pc_channel *c = a->c;
    ERL_NIF_TERM bytes = enif_make_uint64(env, pc_outbox_pending(&c->out));
    keep_ref(a);
    c->call_id++;
    c->calls++;
    enum pc_io io = pc_outbox_flush(&c->out, c->fd);
    if (io == PC_IO_EOF && c->out.sent == 0) {
        /* Nothing of it has left: not begun, so the caller may go to another worker. */
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, true);
        return am_poisoned;
    }
    bool pending = io == PC_IO_AGAIN;
    enum ErlNifSelectFlags mode = pending ? ERL_NIF_SELECT_READ | ERL_NIF_SELECT_WRITE : ERL_NIF_SELECT_READ;
    bool lost = io == PC_IO_EOF || !pc_channel_select(env, c, mode, &a->self, a->ref);
    pc_machine_leave(&c->machine, pc_channel_actor(env), pending ? PC_WRITING : PC_WAITING, lost);
    return enif_make_tuple2(env, pending ? am_pending : am_ok, bytes);
}

static ERL_NIF_TERM call_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    struct call_args a;
    if (!call_args_read(env, argv, &a)) {
        return enif_make_badarg(env);
    }
    if (pc_machine_enter(&a.c->machine, budget != NULL ? PC_CLAIMED : PC_WRITING) == 0) {
        return am_poisoned;
    }
    a.c->max_frame = a.max_frame; /* for the answer, too */
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    enum pc_status status = encode_call(env, &a, budget, &err);
    if (status == PC_OK) {
        return send_call(env, &a);
    }
    if (status == PC_BUDGET) {
        /* Outstanding from here: an owner that dies now cuts, so the slot has no other owner when we come back. */
        keep_ref(&a);
        pc_machine_leave(&a.c->machine, pc_channel_actor(env), PC_WRITING, false);
        return enif_schedule_nif(env, "call", ERL_NIF_DIRTY_JOB_CPU_BOUND, call_dirty, argc, argv);
    }
    pc_machine_leave(&a.c->machine, pc_channel_actor(env), PC_CLAIMED, false);
    return enif_make_tuple2(env, am_error, pc_term_error_make(env, am_encode_error, &err));
}

static ERL_NIF_TERM call_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return call(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_budget budget;
    pc_budget_init(&budget, 0);
    ERL_NIF_TERM result = call(env, argc, argv, &budget);
    pc_budget_account(env, &budget);
    return result;
}

/* ---- reply ---- */

enum frame_kind { FRAME_RESULT, FRAME_SKIP, FRAME_UNKNOWN, FRAME_BAD, FRAME_BUDGET };

/* Decodes the frame's value into *result when the frame is this call's end. */
static enum frame_kind decode_frame(ErlNifEnv *env, const struct pc_channel *c, const struct pc_term_opts *opts,
                                    const uint8_t *payload, size_t n, struct pc_budget *budget, ERL_NIF_TERM *result,
                                    uint64_t *unknown) {
    struct pc_reader r;
    uint32_t count;
    int64_t kind;
    uint64_t id;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 2 || pc_read_int(&r, &kind) != PC_OK ||
        pc_read_uint(&r, &id) != PC_OK) {
        return FRAME_BAD;
    }
    if (kind != PC_KIND_REPLY && kind != PC_KIND_ERROR) {
        *unknown = id;
        return FRAME_UNKNOWN;
    }
    if (id < c->call_id) {
        return FRAME_SKIP;
    }
    int64_t python_ns;
    if (id > c->call_id || count < 4 || pc_read_int(&r, &python_ns) != PC_OK) {
        return FRAME_BAD;
    }
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(env, 0)};
    ERL_NIF_TERM value;
    enum pc_status status = pc_term_decode_within(env, &r, opts, budget, NULL, &value, &err);
    if (status == PC_BUDGET) {
        return FRAME_BUDGET;
    }
    if (status != PC_OK) {
        *result = enif_make_tuple2(env, am_error, pc_term_error_make(env, am_decode_error, &err));
        return FRAME_RESULT;
    }
    *result = enif_make_tuple4(env, kind == PC_KIND_REPLY ? am_reply : am_fault, enif_make_int64(env, python_ns),
                               enif_make_uint64(env, n + PC_FRAME_HEADER), value);
    return FRAME_RESULT;
}

/* An error frame for a kind that is not known; it goes out with the next flush. */
static void refuse_kind(struct pc_channel *c, uint64_t id) {
    size_t mark = pc_outbox_begin(&c->out, c->max_frame);
    struct pc_writer *w = &c->out.w;
    pc_write_array(w, 4);
    pc_write_uint(w, PC_KIND_ERROR);
    pc_write_uint(w, id);
    pc_write_uint(w, 0);
    pc_write_map(w, 2);
    pc_write_cstr(w, "kind");
    pc_write_cstr(w, "unknown_kind");
    pc_write_cstr(w, "message");
    pc_write_cstr(w, "a frame of a kind that this version does not know");
    (void)pc_outbox_end(&c->out, mark); /* without memory for it, it is only not said */
}

static ERL_NIF_TERM lost(ErlNifEnv *env, struct pc_channel *c, uint32_t phase) {
    pc_machine_leave(&c->machine, pc_channel_actor(env), (enum pc_phase)phase, true);
    return am_lost;
}

/* Nothing more to be had now: arm what is awaited and leave. */
static ERL_NIF_TERM wait_on(ErlNifEnv *env, struct pc_channel *c, const ErlNifPid *self, ERL_NIF_TERM ref) {
    bool pending = pc_outbox_pending(&c->out) > 0;
    uint32_t phase = pending ? PC_WRITING : pc_inbox_partial(&c->in) ? PC_READING : PC_WAITING;
    enum ErlNifSelectFlags mode = pending ? ERL_NIF_SELECT_READ | ERL_NIF_SELECT_WRITE : ERL_NIF_SELECT_READ;
    if (!pc_channel_select(env, c, mode, self, ref)) {
        return lost(env, c, phase);
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), (enum pc_phase)phase, false);
    return am_again;
}

static ERL_NIF_TERM reply_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* The call has ended with a result; inside. */
static ERL_NIF_TERM conclude(ErlNifEnv *env, struct pc_channel *c, uint32_t phase, ERL_NIF_TERM result) {
    if (pc_outbox_pending(&c->out) > 0) {
        return lost(env, c, phase); /* an answer to a question that is not out yet */
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, false);
    return result;
}

/* Sends and reads what there is; with a budget, false when the rest is work for a dirty scheduler. Inside; leaves, but then. */
static bool advance(ErlNifEnv *env, struct pc_channel *c, const ErlNifPid *self, ERL_NIF_TERM ref,
                    const struct pc_term_opts *opts, uint32_t phase, struct pc_budget *budget, ERL_NIF_TERM *answer) {
    for (unsigned strays = 0; strays < MOST_STRAYS; strays++) {
        if (pc_outbox_flush(&c->out, c->fd) == PC_IO_EOF) {
            *answer = lost(env, c, phase);
            return true;
        }
        const uint8_t *payload = NULL;
        size_t n = 0;
        enum pc_io io = pc_inbox_read(&c->in, c->fd, c->max_frame, budget != NULL ? SHARE : SIZE_MAX, &payload, &n);
        if (io == PC_IO_AGAIN) {
            *answer = wait_on(env, c, self, ref);
            return true;
        }
        if (io == PC_IO_MORE || (io == PC_IO_DONE && budget != NULL && n > PC_INLINE_BYTES)) {
            return false;
        }
        if (io != PC_IO_DONE) {
            *answer = lost(env, c, phase);
            return true;
        }
        ERL_NIF_TERM result = am_lost;
        uint64_t unknown = 0;
        switch (decode_frame(env, c, opts, payload, n, budget, &result, &unknown)) {
        case FRAME_RESULT:
            pc_inbox_consume(&c->in);
            *answer = conclude(env, c, phase, result);
            return true;
        case FRAME_SKIP:
            pc_inbox_consume(&c->in);
            break;
        case FRAME_UNKNOWN:
            pc_inbox_consume(&c->in);
            refuse_kind(c, unknown);
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
    struct pc_channel *c;
    ErlNifPid self;
    struct pc_term_opts opts;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_ref(env, argv[1]) || !pc_term_opts_read(env, argv[2], &opts) ||
        !is_owner(env, c, &self)) {
        return enif_make_badarg(env);
    }
    uint32_t phase = pc_machine_enter(&c->machine, PC_OUTSTANDING);
    if (phase == 0) {
        return am_poisoned;
    }
    if (budget != NULL) {
        pc_channel_answered(env, c);
    }
    ERL_NIF_TERM answer;
    if (advance(env, c, &self, argv[1], &opts, phase, budget, &answer)) {
        return answer;
    }
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_READING, false);
    return enif_schedule_nif(env, "reply", ERL_NIF_DIRTY_JOB_CPU_BOUND, reply_dirty, argc, argv);
}

static ERL_NIF_TERM reply_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return reply(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_budget budget;
    pc_budget_init(&budget, 0);
    ERL_NIF_TERM answer = reply(env, argc, argv, &budget);
    pc_budget_account(env, &budget);
    return answer;
}

/* ---- the end of a claim ---- */

/* What `withdraw` leaves for `end`, on the same thread: afterwards the channel may be the next owner's. */
static _Thread_local unsigned withdrawn;

static void withdraw(void *channel, void *env, bool open) {
    struct pc_channel *c = channel;
    bool outstanding = (pc_machine_word(&c->machine) & PC_OUTSTANDING) != 0;
    if (open && outstanding) {
        pc_channel_unselect(env, c);
    }
    withdrawn = open || !outstanding ? c->owed : 0; /* otherwise the verdict's message says it */
    (void)enif_demonitor_process(env, c, &c->owner_monitor);
}

static ERL_NIF_TERM end(ErlNifEnv *env, ERL_NIF_TERM channel) {
    struct pc_channel *c;
    ErlNifPid self;
    if (!pc_channel_get(env, channel, &c) || !is_owner(env, c, &self)) {
        return enif_make_badarg(env);
    }
    ERL_NIF_TERM outcome = am_poisoned;
    withdrawn = 0;
    switch (pc_machine_end(&c->machine, pc_channel_actor(env), withdraw)) {
    case PC_END_OK:
        outcome = am_ok;
        break;
    case PC_END_VERDICT:
        outcome = am_verdict;
        break;
    case PC_END_POISONED:
        break;
    }
    return withdrawn == 0 ? outcome : enif_make_tuple3(env, am_owed, enif_make_uint(env, withdrawn), outcome);
}

ERL_NIF_TERM nif_checkin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, argv[0]);
}

ERL_NIF_TERM nif_abandon(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, argv[0]);
}

ERL_NIF_TERM nif_verdict(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    if (!pc_channel_is_controller(env, c)) {
        return enif_make_tuple2(env, am_error, am_not_owner);
    }
    if (!pc_machine_judged(&c->machine)) {
        c->verdict_env = enif_alloc_env();
        c->verdict = enif_make_copy(c->verdict_env, argv[1]);
        pc_machine_verdict(&c->machine, pc_channel_actor(env));
    }
    return am_ok;
}
