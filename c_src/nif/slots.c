/*
 * A pool's table of slots: which channel serves which index, and a ring of the free ones. The lock is held for a few
 * instructions, by normal schedulers and by callbacks; nobody blocks or sends while holding it.
 *
 * The table refers to its channels and they to it; the circle is opened by slots_remove, or when the pool's process ends.
 */
#include "nif/nif.h"

#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/lane.h"

enum { MAX_SLOTS = 131072 };

struct pc_slots {
    ErlNifMutex *lock;
    ErlNifPid pool;
    ErlNifMonitor pool_monitor;
    bool over;         /* the pool's process is gone */
    bool oldest_first; /* of the free ones, that which has been free for longest is taken; otherwise the latest */
    unsigned size;
    unsigned free_from; /* where the ring begins */
    unsigned free_count;
    unsigned *free_ring;
    bool *is_free;
    struct pc_channel **channels;
};

static ErlNifResourceType *slots_type;

bool pc_slots_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_slots **slots) {
    return enif_get_resource(env, term, slots_type, (void **)slots);
}

void pc_slots_release(struct pc_slots *slots) { enif_release_resource(slots); }

static void slots_dtor(ErlNifEnv *env, void *object) {
    struct pc_slots *s = object;
    if (s->lock != NULL) {
        enif_mutex_destroy(s->lock);
    }
    enif_free(s->free_ring);
    enif_free(s->is_free);
    enif_free(s->channels);
    atomic_fetch_sub(&pc_nif_state(env)->slots, 1);
}

/* Where the nth of the free ones stands, from the oldest on. */
static unsigned *nth_free(const struct pc_slots *s, unsigned n) { return &s->free_ring[(s->free_from + n) % s->size]; }

/* Under the lock: a slot that is free is so no more. */
static void take_free(struct pc_slots *s, unsigned index) {
    unsigned i = 0;
    while (*nth_free(s, i) != index) {
        i++;
    }
    for (s->free_count--; i < s->free_count; i++) {
        *nth_free(s, i) = *nth_free(s, i + 1);
    }
    s->is_free[index] = false;
}

/* Under the lock: forgets an index; the channel to be released, or NULL. */
static struct pc_channel *take_out(struct pc_slots *s, unsigned index) {
    struct pc_channel *channel = s->channels[index];
    s->channels[index] = NULL;
    if (s->is_free[index]) {
        take_free(s, index);
    }
    return channel;
}

static void slots_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor) {
    (void)env, (void)pid, (void)monitor;
    struct pc_slots *s = object;
    enif_keep_resource(s); /* releasing the last channel may release us */
    enif_mutex_lock(s->lock);
    s->over = true;
    enif_mutex_unlock(s->lock);
    for (unsigned i = 0; i < s->size; i++) {
        enif_mutex_lock(s->lock);
        struct pc_channel *channel = take_out(s, i);
        enif_mutex_unlock(s->lock);
        if (channel != NULL) {
            enif_release_resource(channel);
        }
    }
    enif_release_resource(s);
}

int pc_slots_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = slots_dtor, .stop = NULL, .down = slots_down, .members = 3};
    slots_type = enif_init_resource_type(env, "pitcrew_slots", &init, flags, NULL);
    return slots_type == NULL ? -1 : 0;
}

struct pc_channel *pc_slots_take(struct pc_slots *s) {
    struct pc_channel *channel = NULL;
    enif_mutex_lock(s->lock);
    if (s->free_count > 0) {
        unsigned index = *nth_free(s, s->oldest_first ? 0 : s->free_count - 1);
        s->free_count--;
        s->free_from = (s->free_from + s->oldest_first) % s->size;
        s->is_free[index] = false;
        channel = s->channels[index];
        enif_keep_resource(channel);
    }
    enif_mutex_unlock(s->lock);
    return channel;
}

/* False if the channel is not on the table any more. */
static bool put_back(struct pc_slots *s, unsigned index, const struct pc_channel *channel) {
    enif_mutex_lock(s->lock);
    bool listed = s->channels[index] == channel;
    if (listed && !s->is_free[index]) {
        s->is_free[index] = true;
        *nth_free(s, s->free_count++) = index;
    }
    enif_mutex_unlock(s->lock);
    return listed;
}

/* A free slot whose lane can do something with it, as pc_slots_take. One whose worker is at its end would come straight back. */
static struct pc_channel *take_wanted(struct pc_slots *s) {
    struct pc_channel *channel = NULL;
    enif_mutex_lock(s->lock);
    for (unsigned i = 0; i < s->free_count && channel == NULL; i++) {
        unsigned index = *nth_free(s, s->oldest_first ? i : s->free_count - 1 - i);
        struct pc_lane *lane = s->channels[index]->lane;
        if (lane != NULL && pc_lane_would_open(lane)) {
            channel = s->channels[index];
            take_free(s, index);
            enif_keep_resource(channel);
        }
    }
    enif_mutex_unlock(s->lock);
    return channel;
}

struct pc_channel *pc_slots_peek(struct pc_slots *s) {
    struct pc_channel *channel = NULL;
    enif_mutex_lock(s->lock);
    if (s->free_count > 0) {
        channel = s->channels[*nth_free(s, s->oldest_first ? 0 : s->free_count - 1)];
        enif_keep_resource(channel);
    }
    enif_mutex_unlock(s->lock);
    return channel;
}

bool pc_slots_share(struct pc_slots *s) {
    bool share = false;
    enif_mutex_lock(s->lock);
    for (unsigned i = 0; i < s->size && !share; i++) {
        share = s->channels[i] != NULL && s->channels[i]->buffers != NULL;
    }
    enif_mutex_unlock(s->lock);
    return share;
}

void pc_slots_lend_to(ErlNifEnv *env, struct pc_slots *s, struct pc_channel *channel) {
    enif_mutex_lock(s->lock);
    bool taken = s->channels[channel->index] == channel && s->is_free[channel->index];
    if (taken) {
        take_free(s, channel->index);
    }
    enif_mutex_unlock(s->lock);
    if (taken) {
        pc_channel_lend(env, channel);
    }
}

void pc_slots_lend(ErlNifEnv *env, struct pc_slots *s, struct pc_dispatch *d) {
    struct pc_channel *channel;
    while ((pc_dispatch_reserves(d) || pc_dispatch_waits(d)) && (channel = take_wanted(s)) != NULL) {
        pc_channel_lend(env, channel);
        enif_release_resource(channel);
    }
}

void pc_slots_hand_on(ErlNifEnv *env, struct pc_slots *s, unsigned index, struct pc_channel *channel) {
    struct pc_lane *lane = channel->lane;
    struct pc_dispatch *d = lane == NULL ? NULL : lane->dispatch;
    /* The very question that lending asks again: it comes back here when the answer is another. */
    if (d != NULL && (pc_dispatch_waits(d) || pc_lane_wants(lane) || pc_dispatch_reserves(d)) &&
        pc_lane_would_open(lane)) {
        pc_channel_lend(env, channel);
        return;
    }
    if (!put_back(s, index, channel)) {
        if (d != NULL && pc_lane_is_draining(lane)) {
            pc_channel_tell_controller(env, channel, enif_alloc_env(), am_drained);
        }
    } else if (d != NULL) { /* a call that was queued before that may have found nothing free */
        pc_slots_lend(env, s, d);
        if (pc_lane_wants(lane)) {
            pc_slots_lend_to(env, s, channel);
        }
    }
}

ERL_NIF_TERM nif_slots_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    unsigned size;
    ErlNifPid pool;
    if (!enif_get_uint(env, argv[0], &size) || size == 0 || size > MAX_SLOTS || !enif_is_atom(env, argv[1]) ||
        !enif_get_local_pid(env, argv[2], &pool)) {
        return enif_make_badarg(env);
    }
    struct pc_slots *s = enif_alloc_resource(slots_type, sizeof *s);
    memset(s, 0, sizeof *s);
    atomic_fetch_add(&pc_nif_state(env)->slots, 1);
    s->lock = enif_mutex_create("pitcrew_slots");
    s->pool = pool;
    s->oldest_first = enif_is_identical(argv[1], am_fifo);
    s->size = size;
    s->free_ring = enif_alloc(size * sizeof s->free_ring[0]);
    s->is_free = enif_alloc(size * sizeof s->is_free[0]);
    s->channels = enif_alloc(size * sizeof s->channels[0]);
    memset(s->is_free, 0, size * sizeof s->is_free[0]);
    memset(s->channels, 0, size * sizeof s->channels[0]);
    ERL_NIF_TERM term = enif_make_resource(env, s);
    int gone = enif_monitor_process(env, s, &pool, &s->pool_monitor);
    enif_release_resource(s);
    return gone != 0 ? enif_make_badarg(env) : term;
}

ERL_NIF_TERM nif_slots_install(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *s;
    unsigned index;
    struct pc_channel *c;
    if (!pc_slots_get(env, argv[0], &s) || !enif_get_uint(env, argv[1], &index) || index >= s->size ||
        !pc_channel_get(env, argv[2], &c)) {
        return enif_make_badarg(env);
    }
    if (!pc_channel_is_controller(env, c)) {
        return enif_make_tuple2(env, am_error, am_not_owner);
    }
    if (c->slots != NULL || pc_machine_enter(&c->machine, PC_CONTROL) == 0) {
        return enif_make_tuple2(env, am_error, am_closed);
    }
    enif_mutex_lock(s->lock);
    bool taken = s->channels[index] != NULL;
    bool over = s->over;
    if (!taken && !over) {
        s->channels[index] = c;
        enif_keep_resource(c);
    }
    enif_mutex_unlock(s->lock);
    if (taken || over) {
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CONTROL, false);
        return enif_make_tuple2(env, am_error, taken ? am_taken : am_closed);
    }
    enif_keep_resource(s);
    c->slots = s;
    c->index = index;
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_FREE, false);
    return am_ok;
}

ERL_NIF_TERM nif_slots_remove(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *s;
    unsigned index;
    if (!pc_slots_get(env, argv[0], &s) || !enif_get_uint(env, argv[1], &index) || index >= s->size) {
        return enif_make_badarg(env);
    }
    enif_mutex_lock(s->lock);
    struct pc_channel *channel = take_out(s, index);
    enif_mutex_unlock(s->lock);
    if (channel != NULL) {
        enif_release_resource(channel);
    }
    return am_ok;
}

/*
 * The table forgets the channel before its lane does, and whoever frees it looks at the table last: so either it lies free here, or its
 * process is told when it does.
 */
ERL_NIF_TERM nif_drain(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c) || c->lane == NULL) {
        return enif_make_badarg(env);
    }
    if (c->slots != NULL) {
        enif_mutex_lock(c->slots->lock);
        bool listed = c->slots->channels[c->index] == c;
        bool kept = listed && take_out(c->slots, c->index) != NULL;
        enif_mutex_unlock(c->slots->lock);
        if (kept) {
            enif_release_resource(c);
        }
    }
    enum pc_lane_state state = pc_lane_drain(c->lane);
    ERL_NIF_TERM gone = enif_make_tuple2(env, am_gone, am_recycled);
    pc_jobs_end(env, pc_lane_take_own(c->lane), gone, gone);
    switch (state) {
    case PC_LANE_IDLE:
        return am_idle;
    case PC_LANE_BUSY:
        return am_busy;
    default:
        break;
    }
    return (pc_machine_word(&c->machine) & (PC_PHASES | PC_INSIDE)) == PC_FREE ? am_idle : am_busy;
}

ERL_NIF_TERM nif_slots_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *s;
    if (!pc_slots_get(env, argv[0], &s)) {
        return enif_make_badarg(env);
    }
    enif_mutex_lock(s->lock);
    unsigned installed = 0;
    for (unsigned i = 0; i < s->size; i++) {
        installed += s->channels[i] != NULL;
    }
    unsigned free_count = s->free_count;
    enif_mutex_unlock(s->lock);
    ERL_NIF_TERM keys[] = {am_size, am_installed, am_free};
    ERL_NIF_TERM values[] = {enif_make_uint(env, s->size), enif_make_uint(env, installed),
                             enif_make_uint(env, free_count)};
    ERL_NIF_TERM map;
    (void)enif_make_map_from_arrays(env, keys, values, 3, &map);
    return map;
}
