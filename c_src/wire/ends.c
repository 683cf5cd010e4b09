/*
 * How calls end (dispatch.h): they are answered, or their worker is dead, or whoever waits for them leaves, or there are no more workers. Whoever
 * takes one off tells of it.
 */
#include "wire/dispatch.h"
#include "wire/lanes.h"

static struct pc_call *find(const struct pc_lane *lane, uint64_t id) {
    struct pc_call *call = lane->first; /* nearly always this one */
    while (call != NULL && call->id < id) {
        call = call->next;
    }
    return call != NULL && call->id == id ? call : NULL;
}

/* How many bytes of all that was made ready the worker may have. */
static uint64_t sent_bytes(const struct pc_lane *lane) {
    size_t unsent = pc_outbox_pending(&lane->pending.box);
    if (!lane->flushing) {
        unsent += pc_outbox_pending(&lane->sending.box);
    }
    return lane->made - unsent;
}

struct pc_call *pc_lane_find_sent(const struct pc_lane *lane, uint64_t id) {
    struct pc_call *call = find(lane, id);
    return call != NULL && call->end <= sent_bytes(lane) ? call : NULL;
}

struct pc_call *pc_lane_take(struct pc_lane *lane, uint64_t id, enum pc_format format, int64_t now, bool *left,
                             bool *known) {
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    struct pc_call *call = find(lane, id);
    *known = id <= lane->last_id;
    if (call != NULL && format != PC_ANY_FORMAT &&
        (call->json != (format == PC_JSON) || call->end > sent_bytes(lane))) {
        *known = false;
        call = NULL;
    }
    if (call != NULL) {
        *left = call->state != PC_CALL_OUT;
        if (call == lane->first) {
            lane->since = now;
        }
        pc_lane_remove(lane, call);
        lane->calls -= format == PC_ANY_FORMAT; /* it was none */
        call->state = PC_CALL_OVER;
        pc_lane_refill(lane, now);
        pc_lane_run_inner(lane, now);
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return call;
}

uint64_t pc_lane_silence(struct pc_lane *lane) {
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    lane->silent = true;
    uint64_t sent = sent_bytes(lane);
    const struct pc_call *call = lane->last;
    while (call != NULL && call->begin >= sent) {
        call = call->prev;
    }
    uint64_t id = call == NULL ? 0 : call->id;
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return id;
}

bool pc_lane_give_up(struct pc_lane *lane, uint64_t id, unsigned *others) {
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    struct pc_call *call = find(lane, id);
    bool stuck = call != NULL && call->state != PC_CALL_OUT;
    if (stuck) {
        pc_lane_close_door(lane);
        lane->stuck += call->state == PC_CALL_LEFT;
        call->state = PC_CALL_STUCK;
        *others = lane->load - lane->stuck;
        lane->draining = true;
        lane->telling = *others > 0;
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return stuck;
}

size_t pc_lane_list_after(struct pc_lane *lane, uint64_t id, uint64_t *ids, size_t most) {
    size_t n = 0;
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    for (const struct pc_call *call = lane->first; call != NULL && n < most; call = call->next) {
        if (call->id > id) {
            ids[n++] = call->id;
        }
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return n;
}

struct pc_call *pc_lane_take_after(struct pc_lane *lane, uint64_t id) {
    struct pc_call *taken = NULL;
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    while (lane->last != NULL && lane->last->id > id) {
        struct pc_call *call = lane->last;
        pc_lane_remove(lane, call);
        call->next = taken;
        taken = call;
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return taken;
}

enum pc_leaving pc_dispatch_leave(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *context,
                                  bool only_queued, struct pc_lane_actor at, struct pc_call **found,
                                  struct pc_lane **lane, uint64_t *id, bool *goes_on) {
    enum pc_leaving result = PC_LEAVE_NONE;
    (void)pthread_mutex_lock(&d->lock);
    struct pc_call *call = pc_owner_find_call(d, key, is_it, context);
    if (call != NULL && call->state == PC_CALL_QUEUED) {
        pc_call_take_unsent(d, call);
        result = PC_LEAVE_QUEUED;
    } else if (call != NULL) {
        result = PC_LEAVE_OUT;
        if (!only_queued) {
            pc_owner_remove(call);
            call->state = PC_CALL_LEFT;
            *lane = call->lane;
            *id = call->id;
            *goes_on = is_it == NULL && call->finish;
            if (call->inside != 0) {
                result = PC_LEAVE_INNER;
            } else if (d->depth == 1 && !*goes_on) {
                pc_lane_close_door(*lane);
            }
            pc_lane_enter(*lane, at);
        }
    }
    *found = call;
    (void)pthread_mutex_unlock(&d->lock);
    return result;
}

struct pc_call *pc_dispatch_end(struct pc_dispatch *d) {
    (void)pthread_mutex_lock(&d->lock);
    d->over = true;
    struct pc_call *taken = NULL, **end = &taken;
    struct pc_call *call;
    while ((call = d->any.first != NULL ? d->any.first : d->reserving.first) != NULL) {
        pc_call_take_unsent(d, call);
        *end = call;
        end = &call->next;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return taken;
}

struct pc_call *pc_lane_take_own(struct pc_lane *lane) {
    struct pc_call *taken = NULL, **end = &taken;
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    struct pc_call *call;
    while ((call = lane->own.first) != NULL) {
        pc_call_take_unsent(lane->dispatch, call);
        *end = call;
        end = &call->next;
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return taken;
}
