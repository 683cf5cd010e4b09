/*
 * See inner.h. What a lane knows may be more than is true: a tool may have stopped waiting because of an exception. Then what is sent there runs
 * the next time that the tool waits, or when its call has ended, so nothing is lost.
 */
#include "wire/inner.h"

#include <string.h>

#include "wire/lanes.h"

static void lock(struct pc_lane *lane) { (void)pthread_mutex_lock(&lane->dispatch->lock); }
static void unlock(struct pc_lane *lane) { (void)pthread_mutex_unlock(&lane->dispatch->lock); }

static struct pc_wait *find(struct pc_lane *lane, uint64_t function) {
    for (unsigned i = 0; i < lane->waits_count; i++) {
        if (lane->waits[i].function == function) {
            return &lane->waits[i];
        }
    }
    return NULL;
}

static void drop(struct pc_lane *lane, struct pc_wait *wait) {
    struct pc_wait *end = lane->waits + --lane->waits_count;
    memmove(wait, wait + 1, (size_t)(end - wait) * sizeof *wait);
}

/* Whether anything is sent. A lane that takes no more calls because its worker is to leave has to end those that it has. */
static bool is_there(const struct pc_lane *lane) {
    return lane->held && !lane->closed && !lane->silent && (lane->open || lane->draining);
}

uint64_t pc_inner_room(const struct pc_lane *lane) {
    const struct pc_wait *last = lane->waits_count == 0 ? NULL : &lane->waits[lane->waits_count - 1];
    return last != NULL && !last->taken && is_there(lane) ? last->function : 0;
}

static bool may_run_in(const struct pc_call *call, const struct pc_outer *outer) {
    return outer->function != 0 && (call->target == NULL || call->target == outer->lane) &&
           pc_inner_room(outer->lane) == outer->function;
}

struct pc_lane *pc_inner_lane(const struct pc_call *call) {
    for (unsigned i = 0; i < call->outer_count; i++) {
        if (may_run_in(call, &call->outer[i])) {
            return call->outer[i].lane;
        }
    }
    return NULL;
}

bool pc_inner_is_held(const struct pc_dispatch *d, const struct pc_call *call) {
    unsigned i = 0;
    while (i < call->outer_count && call->outer[i].lane != call->target) {
        i++;
    }
    return d->width == 1 && i < call->outer_count && call->outer[i].function == 0;
}

static bool fits(const struct pc_call *call, const struct pc_lane *lane) {
    for (unsigned i = 0; i < call->outer_count && !call->slot; i++) {
        if (call->outer[i].lane == lane) {
            return may_run_in(call, &call->outer[i]);
        }
    }
    return false;
}

static struct pc_call *first_inside(struct pc_call *first, const struct pc_lane *lane) {
    struct pc_call *call = first;
    while (call != NULL && !fits(call, lane)) {
        call = call->next;
    }
    return call;
}

struct pc_call *pc_inner_next(const struct pc_lane *lane) {
    if (pc_inner_room(lane) == 0) {
        return NULL;
    }
    struct pc_call *call = first_inside(lane->own.first, lane);
    return call != NULL ? call : first_inside(lane->dispatch->any.first, lane);
}

void pc_inner_begin(struct pc_lane *lane, const struct pc_call *call) {
    struct pc_wait *wait = call->inside == 0 ? NULL : find(lane, call->inside);
    if (wait != NULL) {
        wait->taken = true;
    }
}

void pc_inner_end(struct pc_lane *lane, const struct pc_call *call) {
    for (unsigned i = lane->waits_count; i > 0; i--) {
        if (lane->waits[i - 1].call == call->id) {
            drop(lane, &lane->waits[i - 1]);
        }
    }
    struct pc_wait *wait = call->inside == 0 ? NULL : find(lane, call->inside);
    if (wait != NULL) {
        wait->taken = false;
    }
}

bool pc_lane_waits(struct pc_lane *lane, uint64_t id, uint64_t function) {
    lock(lane);
    const struct pc_call *call = pc_lane_find_sent(lane, id);
    bool good =
        call != NULL && lane->dispatch->depth == 1 && lane->waits_count < PC_MOST_WAITS && find(lane, function) == NULL;
    if (good) {
        lane->waits[lane->waits_count++] = (struct pc_wait){.function = function, .call = id, .taken = false};
    }
    unlock(lane);
    return good;
}

void pc_lane_waited(struct pc_lane *lane, uint64_t function, int64_t now) {
    lock(lane);
    struct pc_wait *wait = find(lane, function);
    if (wait != NULL) {
        drop(lane, wait);
        pc_lane_run_inner(lane, now);
    }
    unlock(lane);
}
