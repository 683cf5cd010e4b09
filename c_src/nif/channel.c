/*
 * The resource behind a channel: its birth, what the machine's duties mean in the VM, and its end.
 * Callbacks here may run on any scheduler; they flip state, send a message and return.
 *
 * The descriptor is closed in the stop callback (no select can be using it then), or by the destructor if
 * nobody ever asked for a close; never anywhere else.
 */
#include "nif/channel.h"

#include <string.h>
#include <unistd.h>

#include "codec/limits.h"
#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/parcel.h"
#include "nif/refs.h"
#include "nif/send.h"
#include "nif/started.h"

static ErlNifResourceType *channel_type;

static void hand_on(void *channel, void *env) {
    struct pc_channel *c = channel;
    pc_slots_hand_on(env, c->slots, c->index, c);
}

void pc_channel_tell_controller(ErlNifEnv *env, struct pc_channel *c, ErlNifEnv *message, ERL_NIF_TERM what) {
    pc_send(env, &c->controller, message,
            enif_make_tuple3(message, am_pitcrew_channel, enif_make_resource(message, c), what));
}

void pc_channel_wear(ErlNifEnv *env, struct pc_channel *c) {
    uint64_t worn_after = c->worn_after;
    if (worn_after == 0) {
        return;
    }
    struct pc_lane_counts n = {.calls = c->calls};
    if (c->lane != NULL) {
        pc_lane_count(c->lane, &n);
    }
    if (n.calls >= worn_after && atomic_compare_exchange_strong(&c->worn_after, &worn_after, 0)) {
        pc_channel_tell_controller(env, c, enif_alloc_env(), am_worn);
    }
}

static void tell_worker(void *channel, void *env, enum pc_why why) {
    const ERL_NIF_TERM names[] = {[PC_CUT] = am_cut, [PC_LOST] = am_lost, [PC_ADOPT] = am_adopt};
    pc_channel_tell_controller(env, channel, enif_alloc_env(), names[why]);
}

static void tell_owner(void *channel, void *env) {
    struct pc_channel *c = channel;
    ErlNifEnv *msg = enif_alloc_env();
    /* Nobody goes inside any more, and the descriptor is closed after this. */
    pc_channel_unselect(env, c);
    pc_send(env, &c->owner, msg,
            enif_make_tuple4(msg, am_pitcrew_verdict, enif_make_copy(msg, c->ref), enif_make_copy(msg, c->verdict),
                             enif_make_uint(msg, c->owed)));
}

static void close_now(void *channel, void *env) {
    struct pc_channel *c = channel;
    (void)enif_select(env, c->fd, ERL_NIF_SELECT_STOP, c, NULL, am_undefined);
}

static const struct pc_machine_ops ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_now};

struct pc_actor pc_channel_actor(ErlNifEnv *env) {
    return (struct pc_actor){.ops = &ops, .env = env};
}

static void close_descriptor(ErlNifEnv *env, struct pc_channel *c) {
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        atomic_fetch_sub(&pc_nif_state(env)->descriptors, 1);
    }
}

static void channel_stop(ErlNifEnv *env, void *object, ErlNifEvent fd, int direct) {
    (void)fd, (void)direct;
    close_descriptor(env, object);
}

static void channel_dtor(ErlNifEnv *env, void *object) {
    struct pc_channel *c = object;
    close_descriptor(env, c);
    pc_inbox_destroy(&c->in);
    pc_outbox_destroy(&c->out);
    if (c->ref_env != NULL) {
        enif_free_env(c->ref_env);
    }
    if (c->verdict_env != NULL) {
        enif_free_env(c->verdict_env);
    }
    if (c->parts_env != NULL) {
        enif_free_env(c->parts_env);
    }
    if (c->slots != NULL) {
        pc_slots_release(c->slots);
    }
    if (c->started != NULL) {
        pc_started_unmap(c->started);
    }
    if (c->parcel != NULL) {
        pc_parcel_release(c->parcel);
    }
    if (c->buffers != NULL) {
        pc_buffers_shut(c->buffers);
    }
    pc_released_free(pc_released_take(c));
    if (c->lane != NULL) {
        struct pc_dispatcher *dispatcher = pc_dispatcher_of(c->lane);
        pc_lane_destroy(c->lane);
        enif_free(c->lane);
        pc_dispatcher_release(dispatcher);
    }
    atomic_fetch_sub(&pc_nif_state(env)->channels, 1);
}

static void channel_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor) {
    (void)monitor;
    struct pc_channel *c = object;
    if (enif_compare_pids(pid, &c->controller) != 0) {
        pc_machine_owner_gone(&c->machine, pc_channel_actor(env));
        return;
    }
    if (c->lane != NULL) {
        pc_channel_end_lane(env, c, am_noproc);
    }
    if (!pc_machine_judged(&c->machine)) {
        c->verdict = am_noproc; /* atoms need no env */
        pc_machine_verdict(&c->machine, pc_channel_actor(env));
    }
    pc_channel_close(env, c);
}

int pc_channel_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = channel_dtor, .stop = channel_stop, .down = channel_down, .members = 3};
    channel_type = enif_init_resource_type(env, "pitcrew_channel", &init, flags, NULL);
    return channel_type == NULL ? -1 : 0;
}

ERL_NIF_TERM pc_channel_make(ErlNifEnv *env, int fd) {
    struct pc_channel *c = enif_alloc_resource(channel_type, sizeof *c);
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->max_frame = PC_STRANGER_FRAME;
    atomic_fetch_add(&pc_nif_state(env)->channels, 1);
    atomic_fetch_add(&pc_nif_state(env)->descriptors, 1);
    pc_machine_init(&c->machine, c);
    pc_inbox_init(&c->in);
    pc_outbox_init(&c->out);
    c->ref_env = enif_alloc_env();
    enif_self(env, &c->controller);
    ERL_NIF_TERM term = 0;
    if (c->ref_env != NULL && enif_monitor_process(env, c, &c->controller, &c->controller_monitor) == 0) {
        term = enif_make_resource(env, c);
    }
    enif_release_resource(c);
    return term;
}

bool pc_channel_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel) {
    return enif_get_resource(env, term, channel_type, (void **)channel);
}

bool pc_channel_is_controller(ErlNifEnv *env, const struct pc_channel *channel) {
    ErlNifPid self;
    return enif_self(env, &self) != NULL && enif_compare_pids(&self, &channel->controller) == 0;
}

bool pc_channel_is_owner(ErlNifEnv *env, const struct pc_channel *channel, ErlNifPid *self) {
    return enif_self(env, self) != NULL && enif_compare_pids(self, &channel->owner) == 0;
}

bool pc_channel_add_part(struct pc_channel *c, size_t at, ERL_NIF_TERM binary) {
    ErlNifBinary bin;
    if (c->parts_env == NULL && (c->parts_env = enif_alloc_env()) == NULL) {
        return false;
    }
    if (!enif_inspect_binary(c->parts_env, enif_make_copy(c->parts_env, binary), &bin)) {
        return false;
    }
    const struct pc_part part = {.at = at, .data = bin.data, .n = bin.size};
    return pc_outbox_part(&c->out, &part);
}

enum pc_io pc_channel_flush(struct pc_channel *c) {
    bool had_parts = c->out.parts_count > 0;
    enum pc_io io = pc_outbox_flush(&c->out, c->fd);
    if (had_parts && io == PC_IO_DONE) {
        enif_clear_env(c->parts_env);
    }
    return io;
}

void pc_channel_drop_parts(struct pc_channel *c) {
    if (c->parts_env != NULL && c->out.parts_count == 0) {
        enif_clear_env(c->parts_env);
    }
}

bool pc_channel_set_controller(ErlNifEnv *env, struct pc_channel *c, const ErlNifPid *pid) {
    ErlNifMonitor monitor;
    ErlNifMonitor old = c->controller_monitor;
    ErlNifPid before = c->controller;
    /* First, so that the callback of a new owner that dies at once knows it as the controller. */
    c->controller = *pid;
    if (enif_monitor_process(env, c, pid, &monitor) != 0) {
        c->controller = before;
        return false;
    }
    c->controller_monitor = monitor;
    c->max_frame = PC_CONTROL_FRAME;
    (void)enif_demonitor_process(env, c, &old);
    return true;
}

bool pc_channel_select(ErlNifEnv *env, struct pc_channel *c, enum ErlNifSelectFlags mode, const ErlNifPid *pid,
                       ERL_NIF_TERM ref) {
    if (enif_select(env, c->fd, mode, c, pid, ref) < 0) {
        return false;
    }
    c->armed |= (unsigned)mode & (ERL_NIF_SELECT_READ | ERL_NIF_SELECT_WRITE);
    return true;
}

bool pc_channel_await(ErlNifEnv *env, struct pc_channel *c, const ErlNifPid *owner, ERL_NIF_TERM ref) {
    bool pending = pc_outbox_pending(&c->out) > 0;
    enum pc_phase phase = pending ? PC_WRITING : pc_inbox_partial(&c->in) ? PC_READING : PC_WAITING;
    enum ErlNifSelectFlags mode = pending ? ERL_NIF_SELECT_READ | ERL_NIF_SELECT_WRITE : ERL_NIF_SELECT_READ;
    bool armed = pc_channel_select(env, c, mode, owner, ref);
    pc_machine_leave(&c->machine, pc_channel_actor(env), pc_channel_waits(c, phase), !armed);
    return armed;
}

void pc_channel_keep_ref(struct pc_channel *c, ERL_NIF_TERM ref) {
    enif_clear_env(c->ref_env);
    c->ref = enif_make_copy(c->ref_env, ref);
    c->armed = 0;
    c->owed = 0;
}

void pc_channel_unselect(ErlNifEnv *env, struct pc_channel *c) {
    if (c->armed == 0) {
        return;
    }
    enum ErlNifSelectFlags mode = (enum ErlNifSelectFlags)(c->armed | ERL_NIF_SELECT_CANCEL);
    int result = enif_select(env, c->fd, mode, c, NULL, am_undefined);
    if (result >= 0) {
        c->owed += (c->armed & ERL_NIF_SELECT_READ) != 0 && (result & ERL_NIF_SELECT_READ_CANCELLED) == 0;
        c->owed += (c->armed & ERL_NIF_SELECT_WRITE) != 0 && (result & ERL_NIF_SELECT_WRITE_CANCELLED) == 0;
    }
    c->armed = 0;
}

void pc_channel_answered(ErlNifEnv *env, struct pc_channel *c) {
    if (c->owed == 0 && c->armed != (ERL_NIF_SELECT_READ | ERL_NIF_SELECT_WRITE)) {
        c->armed = 0; /* there was one, and this was its message */
        return;
    }
    pc_channel_unselect(env, c);
    if (c->owed > 0) {
        c->owed--;
    }
}
