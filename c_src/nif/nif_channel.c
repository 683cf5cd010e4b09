/*
 * What a channel's controlling process may do: the handshake, the side channel, install's counterpart close.
 * All of it in PC_CONTROL, on a normal scheduler: handshake frames are small, and a frame that is not is refused work.
 */
#include "nif/nif.h"

#include <errno.h>
#include <unistd.h>

#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/channel.h"
#include "nif/lane.h"
#include "nif/started.h"
#include "nif/term.h"

enum { SHARE = 256 * 1024 };

static const char *const phase_names[] = {"control", "free", "claimed", "writing", "waiting", "reading", "pipelined"};
static const char *const flag_names[] = {"inside", "broken", "gone", "verdict", "left", "closed", "finish"};

static ERL_NIF_TERM error(ErlNifEnv *env, ERL_NIF_TERM reason) { return enif_make_tuple2(env, am_error, reason); }

static struct pc_term_opts plain(void) { return (struct pc_term_opts){.nil = am_nil}; }

/* Goes inside for the controlling process; otherwise *refusal says why not. */
static bool enter_from(ErlNifEnv *env, struct pc_channel *c, uint32_t phases, ERL_NIF_TERM *refusal) {
    if (!pc_channel_is_controller(env, c)) {
        *refusal = error(env, am_not_owner);
        return false;
    }
    if (pc_machine_enter(&c->machine, phases) == 0) {
        *refusal = error(env, am_closed);
        return false;
    }
    return true;
}

static bool enter(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM *refusal) {
    return enter_from(env, c, PC_CONTROL, refusal);
}

static void leave(ErlNifEnv *env, struct pc_channel *c) {
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CONTROL, false);
}

ERL_NIF_TERM nif_channel_give(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid pid;
    ERL_NIF_TERM result;
    if (!pc_channel_get(env, argv[0], &c) || !enif_get_local_pid(env, argv[1], &pid)) {
        return enif_make_badarg(env);
    }
    if (!enter(env, c, &result)) {
        return result;
    }
    result = pc_channel_set_controller(env, c, &pid) ? am_ok : error(env, am_noproc);
    leave(env, c);
    return result;
}

/* Sends what waits; inside. */
static ERL_NIF_TERM flush(ErlNifEnv *env, struct pc_channel *c) {
    switch (pc_outbox_flush(&c->out, c->fd)) {
    case PC_IO_DONE:
        return am_ok;
    case PC_IO_AGAIN:
        if (pc_channel_select(env, c, ERL_NIF_SELECT_WRITE, &c->controller, am_undefined)) {
            return am_pending;
        }
        return error(env, am_closed);
    default:
        return error(env, am_closed);
    }
}

/* Into the outbox; or *refusal says why not. */
static bool write_frame(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM frame, ERL_NIF_TERM *refusal) {
    struct pc_term_opts opts = plain();
    struct pc_term_error err = {.status = PC_OK};
    size_t mark = pc_outbox_begin(&c->out, c->max_frame);
    if (pc_term_encode(env, &c->out.w, frame, &opts, NULL, &err) != PC_OK) {
        pc_outbox_undo(&c->out, mark);
        *refusal = error(env, pc_term_error_make(env, am_encode_error, &err));
        return false;
    }
    *refusal = error(env, am_closed);
    return pc_outbox_end(&c->out, mark) == PC_OK;
}

static ERL_NIF_TERM send_frame(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM frame) {
    ERL_NIF_TERM refusal;
    return write_frame(env, c, frame, &refusal) ? flush(env, c) : refusal;
}

/* What a worker is given with its first frame, in this order. */
struct gifts {
    int fds[2];
    size_t count;
};

static void close_gifts(struct gifts *g) {
    while (g->count > 0) {
        (void)close(g->fds[--g->count]);
    }
}

/* Memory that the worker publishes in, if that is wanted, and its end of the socket for shared memory. 0 or -errno. */
static int make_gifts(struct pc_channel *c, bool publishes, struct pc_account *account, struct gifts *g) {
    int result = 0;
    if (publishes) {
        result = c->started != NULL ? -EALREADY : pc_started_map(&c->started);
        if (result >= 0) {
            g->fds[g->count++] = result;
        }
    }
    if (result >= 0 && account != NULL) {
        result = c->buffers != NULL ? -EALREADY : pc_buffers_open(account, &c->buffers, &g->fds[g->count]);
        g->count += result == 0;
    }
    return result < 0 ? result : 0;
}

/* Nothing is pending yet. */
static ERL_NIF_TERM send_hello(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM frame, bool publishes,
                               struct pc_account *account) {
    ERL_NIF_TERM refusal;
    struct gifts g = {.count = 0};
    int error_number = make_gifts(c, publishes, account, &g);
    if (error_number < 0) {
        close_gifts(&g);
        return error(env, pc_posix_atom(env, -error_number));
    }
    bool sent = write_frame(env, c, frame, &refusal);
    if (sent) {
        enum pc_io io = pc_outbox_flush_with(&c->out, c->fd, g.fds, g.count);
        refusal = error(env, am_closed); /* a socket that takes not even the first frame is of no use */
        sent = io == PC_IO_DONE;
    }
    close_gifts(&g);
    return sent ? am_ok : refusal;
}

ERL_NIF_TERM nif_channel_hello(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    struct pc_account *account = NULL;
    ERL_NIF_TERM result;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_list(env, argv[1]) || !enif_is_atom(env, argv[2]) ||
        !(argv[3] == am_none || pc_account_get(env, argv[3], &account))) {
        return enif_make_badarg(env);
    }
    if (!enter(env, c, &result)) {
        return result;
    }
    result = send_hello(env, c, argv[1], argv[2] == am_true, account);
    leave(env, c);
    return result;
}

ERL_NIF_TERM nif_channel_tend(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    if (c->buffers != NULL) { /* as it was before the channel was given to anybody */
        pc_buffers_tend(c->buffers);
    }
    return am_ok;
}

ERL_NIF_TERM nif_channel_send(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ERL_NIF_TERM result;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_list(env, argv[1])) {
        return enif_make_badarg(env);
    }
    /* From PC_FREE as well: a worker that nobody has claimed can be told to shut down; nobody claims it any more. */
    if (!enter_from(env, c, PC_CONTROL | PC_FREE, &result)) {
        return result;
    }
    result = send_frame(env, c, argv[1]);
    leave(env, c);
    return result;
}

ERL_NIF_TERM nif_channel_flush(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ERL_NIF_TERM result;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    if (!enter(env, c, &result)) {
        return result;
    }
    result = flush(env, c);
    leave(env, c);
    return result;
}

/* One frame as a term, or the news that there is none; inside. */
static ERL_NIF_TERM recv_frame(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM ref) {
    const uint8_t *payload = NULL;
    size_t n = 0;
    enum pc_io io = pc_inbox_read(&c->in, c->fd, c->max_frame, SHARE, &payload, &n);
    if (io == PC_IO_AGAIN || io == PC_IO_MORE) {
        return pc_channel_select(env, c, ERL_NIF_SELECT_READ, &c->controller, ref) ? am_again : error(env, am_closed);
    }
    if (io != PC_IO_DONE) {
        return error(env, am_closed);
    }
    struct pc_reader r;
    struct pc_term_opts opts = plain();
    struct pc_term_error err = {.status = PC_OK};
    ERL_NIF_TERM frame = am_nil;
    pc_reader_init(&r, payload, n);
    enum pc_status status = pc_term_decode(env, &r, &opts, &frame, &err);
    pc_inbox_consume(&c->in);
    if (status != PC_OK) {
        return error(env, pc_term_error_make(env, am_decode_error, &err));
    }
    return enif_make_tuple2(env, am_ok, frame);
}

ERL_NIF_TERM nif_channel_recv(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ERL_NIF_TERM result;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_ref(env, argv[1])) {
        return enif_make_badarg(env);
    }
    if (!enter(env, c, &result)) {
        return result;
    }
    result = recv_frame(env, c, argv[1]);
    leave(env, c);
    return result;
}

ERL_NIF_TERM nif_channel_close(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    if (!pc_channel_is_controller(env, c)) {
        return error(env, am_not_owner);
    }
    if (c->lane != NULL) {
        pc_channel_end_lane(env, c, am_closed);
    }
    if (!pc_machine_judged(&c->machine)) {
        c->verdict = am_closed;
        pc_machine_verdict(&c->machine, pc_channel_actor(env));
    }
    pc_channel_close(env, c);
    return am_ok;
}

ERL_NIF_TERM nif_channel_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    uint32_t word = pc_machine_word(&c->machine);
    ERL_NIF_TERM phase = am_undefined;
    for (size_t i = 0; i < sizeof phase_names / sizeof phase_names[0]; i++) {
        if ((word & UINT32_C(1) << i) != 0) {
            phase = enif_make_atom(env, phase_names[i]);
        }
    }
    ERL_NIF_TERM flags = enif_make_list(env, 0);
    for (size_t i = 0; i < sizeof flag_names / sizeof flag_names[0]; i++) {
        if ((word & (uint32_t)PC_INSIDE << i) != 0) {
            flags = enif_make_list_cell(env, enif_make_atom(env, flag_names[i]), flags);
        }
    }
    struct pc_lane_counts n = {.calls = c->calls,
                               .bytes_out = c->out.total,
                               .last_started = c->started == NULL ? UINT64_MAX : pc_started_id(c->started)};
    if (c->lane != NULL) {
        pc_lane_count(c->lane, &n);
    }
    ERL_NIF_TERM keys[] = {am_phase,   am_flags, am_bytes_in, am_bytes_out, am_calls,
                           am_call_id, am_load,  am_first,    am_refs,      am_running};
    ERL_NIF_TERM values[] = {phase,
                             flags,
                             enif_make_uint64(env, c->in.total),
                             enif_make_uint64(env, n.bytes_out),
                             enif_make_uint64(env, n.calls),
                             enif_make_uint64(env, c->call_id),
                             enif_make_uint(env, n.load),
                             enif_make_uint64(env, n.first),
                             enif_make_uint64(env, atomic_load(&c->refs)),
                             enif_make_uint(env, n.started)};
    ERL_NIF_TERM map;
    (void)enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}
