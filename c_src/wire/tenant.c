/* See tenant.h. The queues that its calls wait in are dispatch.c's. */
#include "wire/tenant.h"

#include <string.h>

#include "wire/lanes.h"

void pc_tenant_init(struct pc_tenant *t, struct pc_dispatch *d, uint64_t id, bool exclusive,
                    void (*keep)(void *channel)) {
    memset(t, 0, sizeof *t);
    t->id = id;
    t->keep = keep;
    t->dispatch = d;
    t->exclusive = exclusive;
}

static void lock(const struct pc_tenant *t) { (void)pthread_mutex_lock(&t->dispatch->lock); }
static void unlock(const struct pc_tenant *t) { (void)pthread_mutex_unlock(&t->dispatch->lock); }

static void settle(struct pc_tenant *t, struct pc_lane *lane) {
    t->lane = lane;
    t->keep(lane->channel);
}

bool pc_tenant_share(struct pc_tenant *t, struct pc_lane *lane) {
    lock(t);
    bool good = t->lane == NULL && !t->ended && !lane->over && !pc_lane_is_reserved(lane);
    if (good) {
        settle(t, lane);
        lane->tenants++;
    }
    unlock(t);
    return good;
}

void pc_tenant_reserve(struct pc_tenant *t, struct pc_lane *lane) {
    settle(t, lane);
    lane->reserved = true;
    if (lane->listed) {
        pc_lane_unlist(lane);
    }
}

struct pc_lane *pc_tenant_lane(struct pc_tenant *t) {
    lock(t);
    struct pc_lane *lane = t->lane;
    unlock(t);
    return lane;
}

bool pc_tenant_is_busy(struct pc_tenant *t) {
    lock(t);
    bool busy = t->calls > 0;
    unlock(t);
    return busy;
}

static void move_out(struct pc_tenant *t) {
    struct pc_lane *lane = t->lane;
    if (!t->exclusive) {
        lane->tenants--;
        return;
    }
    lane->reserved = false;
    if (lane->open && !lane->retiring) {
        pc_lane_list(lane);
    }
}

/* Of a queue: those of the tenant. */
static struct pc_call **take_from(struct pc_tenant *t, const struct pc_queue *q, struct pc_call **end) {
    struct pc_call *next;
    for (struct pc_call *call = q->first; call != NULL; call = next) {
        next = call->next;
        if (call->tenant == t) {
            pc_call_take_unsent(t->dispatch, call);
            *end = call;
            end = &call->next;
        }
    }
    return end;
}

struct pc_call *pc_tenant_end(struct pc_tenant *t) {
    struct pc_call *taken = NULL;
    lock(t);
    if (!t->ended) {
        t->ended = true;
        (void)take_from(t, t->lane != NULL ? &t->lane->own : &t->dispatch->reserving, &taken);
        if (t->lane != NULL) {
            move_out(t);
        }
    }
    unlock(t);
    return taken;
}
