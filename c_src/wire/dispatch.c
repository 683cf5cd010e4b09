/*
 * See dispatch.h. Invariants, whenever the lock is free: a call that is QUEUED stands in the queue, one that is OUT or LEFT in exactly one
 * lane; QUEUED and OUT calls are found by their owners; no call waits while an open lane that may take it has room, unless that lane is kept
 * clear for a call that is to reserve it; `load` counts a lane's calls, and an open lane that is not reserved stands in the list of its load.
 */
#include "wire/dispatch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "wire/call_head.h"
#include "wire/inner.h"
#include "wire/lanes.h"
#include "wire/segment_footer.h"
#include "wire/tenant.h"

enum {
    MOST_COPIED = 64 * 1024, /* larger frames are sent from where they are */
    ENOUGH = 1, /* beside those that run. Measured: with 0 workers run dry, with more they are sent calls one by one */
};

enum watch { WATCH_OFF, WATCH_ON, WATCH_SEEN };

/* It is held for less time than going to sleep takes. */
static void init_lock(pthread_mutex_t *lock) {
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr); /* none of these can fail on Linux */
#ifdef __GLIBC__
    (void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    (void)pthread_mutex_init(lock, &attr);
    (void)pthread_mutexattr_destroy(&attr);
}

bool pc_dispatch_init(struct pc_dispatch *d, unsigned depth, unsigned width, bool oldest_first) {
    memset(d, 0, sizeof *d);
    d->depth = depth;
    d->width = width;
    d->least = depth;
    d->most_queued = SIZE_MAX;
    d->oldest_first = oldest_first;
    d->by_load = calloc(2 * ((size_t)depth + 1), sizeof(struct pc_lane *));
    if (d->by_load == NULL) {
        return false;
    }
    init_lock(&d->lock);
    return true;
}

void pc_dispatch_destroy(struct pc_dispatch *d) {
    (void)pthread_mutex_destroy(&d->lock);
    free(d->by_load);
}

/* ---- Lists of calls */

static void append(struct pc_call **first, struct pc_call **last, struct pc_call *call) {
    call->prev = *last;
    call->next = NULL;
    *(*last != NULL ? &(*last)->next : first) = call;
    *last = call;
}

static void unlink_call(struct pc_call **first, struct pc_call **last, struct pc_call *call) {
    *(call->prev != NULL ? &call->prev->next : first) = call->next;
    *(call->next != NULL ? &call->next->prev : last) = call->prev;
    call->prev = call->next = NULL;
}

/* ---- Queues */

static struct pc_queue *queue_of(struct pc_dispatch *d, const struct pc_call *call) {
    return call->target != NULL ? &call->target->own : call->tenant != NULL ? &d->reserving : &d->any;
}

static void queue_call(struct pc_dispatch *d, struct pc_call *call) {
    struct pc_queue *q = queue_of(d, call);
    append(&q->first, &q->last, call);
    q->n++;
    d->targeted += call->target != NULL;
    d->inner += call->outer_count > 0;
}

static void unqueue_call(struct pc_dispatch *d, struct pc_call *call) {
    struct pc_queue *q = queue_of(d, call);
    unlink_call(&q->first, &q->last, call);
    q->n--;
    d->unsettled |= q == &d->reserving && q->n == 0 && d->any.n > 0;
    d->targeted -= call->target != NULL;
    d->inner -= call->outer_count > 0;
}

/* Nobody finds it any more, by its owner or its tenant. */
static void let_go(struct pc_call *call) {
    if (call->state != PC_CALL_LEFT && call->state != PC_CALL_STUCK) {
        pc_owner_remove(call);
    }
    if (call->tenant != NULL) {
        call->tenant->calls--;
    }
}

void pc_call_take_unsent(struct pc_dispatch *d, struct pc_call *call) {
    unqueue_call(d, call);
    let_go(call);
    call->state = PC_CALL_OVER;
}

static struct pc_call *earlier(struct pc_call *a, struct pc_call *b) {
    return b == NULL || (a != NULL && a->sent <= b->sent) ? a : b;
}

/* Of those that wait, the first that the lane may take, or its slot. */
static struct pc_call *first_waiting(const struct pc_lane *lane) {
    struct pc_dispatch *d = lane->dispatch;
    struct pc_call *reserving = pc_lane_is_vacant(lane) ? d->reserving.first : NULL;
    struct pc_call *call =
        earlier(earlier(lane->own.first, pc_lane_is_reserved(lane) ? NULL : d->any.first), reserving);
    /* A lane is reserved when it has nothing to do, and is given nothing else until then. */
    return call != NULL && call == reserving && lane->load > 0 ? NULL : call;
}

/* One that waits for a slot is not overtaken: the lane takes no others then, and is given back. */
static struct pc_call *first_for(const struct pc_lane *lane) {
    struct pc_call *call = first_waiting(lane);
    return call != NULL && call->slot ? NULL : call;
}

struct pc_call *pc_lane_first_for_slot(const struct pc_lane *lane) {
    struct pc_call *call = first_waiting(lane);
    return call != NULL && call->slot ? call : NULL;
}

bool pc_lane_is_needed(const struct pc_lane *lane) { return pc_lane_wants(lane) || first_for(lane) != NULL; }

/* ---- Lanes by load */

static struct pc_lane **first_of(struct pc_dispatch *d, unsigned load) { return &d->by_load[load]; }
static struct pc_lane **last_of(struct pc_dispatch *d, unsigned load) { return &d->by_load[d->depth + 1 + load]; }

/* Calls inside of others come on top of what a lane holds otherwise. */
static unsigned rank_of(const struct pc_dispatch *d, const struct pc_lane *lane) {
    return lane->load < d->depth ? lane->load : d->depth;
}

static bool is_loaded(const struct pc_dispatch *d, const struct pc_lane *lane) {
    return lane->load - lane->inner > d->width;
}

static void list_lane(struct pc_dispatch *d, struct pc_lane *lane) {
    struct pc_lane **first = first_of(d, rank_of(d, lane));
    struct pc_lane **last = last_of(d, rank_of(d, lane));
    lane->prev = d->oldest_first ? *last : NULL;
    lane->next = d->oldest_first ? NULL : *first;
    *(lane->prev != NULL ? &lane->prev->next : first) = lane;
    *(lane->next != NULL ? &lane->next->prev : last) = lane;
    if (rank_of(d, lane) < d->least) {
        d->least = rank_of(d, lane);
    }
}

static void unlist_lane(struct pc_dispatch *d, struct pc_lane *lane) {
    *(lane->prev != NULL ? &lane->prev->next : first_of(d, rank_of(d, lane))) = lane->next;
    *(lane->next != NULL ? &lane->next->prev : last_of(d, rank_of(d, lane))) = lane->prev;
}

static void set_load(struct pc_dispatch *d, struct pc_lane *lane, unsigned load, unsigned inner) {
    if (lane->listed) {
        unlist_lane(d, lane);
    }
    d->out += load;
    d->out -= lane->load;
    d->loaded -= is_loaded(d, lane);
    lane->load = load;
    lane->inner = inner;
    d->loaded += is_loaded(d, lane);
    if (lane->listed) {
        list_lane(d, lane);
    }
}

/* The open lane with the least to do, of those with room; or NULL. */
static struct pc_lane *roomiest(struct pc_dispatch *d) {
    while (d->least < d->depth && d->by_load[d->least] == NULL) {
        d->least++;
    }
    return d->least < d->depth ? d->by_load[d->least] : NULL;
}

/* The open lane with the least to do, of those with room that nobody waits to reserve; or NULL. */
static struct pc_lane *roomiest_of_others(const struct pc_dispatch *d) {
    for (unsigned load = 0; load < d->depth; load++) {
        for (struct pc_lane *lane = d->by_load[load]; lane != NULL; lane = lane->next) {
            if (!pc_lane_is_vacant(lane)) {
                return lane;
            }
        }
    }
    return NULL;
}

static struct pc_lane *room_to_reserve(const struct pc_dispatch *d) {
    struct pc_lane *lane = d->by_load[0];
    while (lane != NULL && !pc_lane_is_vacant(lane)) {
        lane = lane->next;
    }
    return lane;
}

static struct pc_lane *room_for(struct pc_dispatch *d, const struct pc_call *call) {
    struct pc_lane *target = call->target;
    if (target != NULL) {
        return target->open && target->load < d->depth && target->own.first == NULL ? target : NULL;
    }
    if (call->tenant != NULL) {
        return room_to_reserve(d);
    }
    struct pc_lane *lane = roomiest(d);
    return lane != NULL && d->reserving.first != NULL && pc_lane_is_vacant(lane) ? roomiest_of_others(d) : lane;
}

void pc_lane_list(struct pc_lane *lane) {
    lane->listed = true;
    lane->dispatch->lanes++;
    list_lane(lane->dispatch, lane);
}

void pc_lane_unlist(struct pc_lane *lane) {
    lane->listed = false;
    lane->dispatch->lanes--;
    unlist_lane(lane->dispatch, lane);
}

/* ---- Sending a call out */

/* Frame and head around the body. Of a large body that is owned only a part is noted; *kept then. */
static enum pc_status write_frame(struct pc_lane *lane, const struct pc_call *call, const struct pc_body *body,
                                  bool *kept) {
    struct pc_outbox *box = &lane->pending.box;
    size_t mark = pc_outbox_begin(box, lane->max_frame);
    struct pc_writer *w = &box->w;
    pc_some_call_head_write(w, call->inside == 0 ? PC_KIND_CALL : PC_KIND_INNER, call->json,
                            body->apart > 0 ? PC_SEGMENT_CALL_COUNT : PC_CALL_FIELDS, call->id);
    *kept = body->owned && body->n > MOST_COPIED;
    if (!*kept) {
        pc_writer_append(w, body->data, body->n);
    } else {
        const struct pc_part part = {.at = w->len, .data = body->data, .n = body->n};
        if (w->status == PC_OK && (!pc_load_out_keep(&lane->pending, body->data) || !pc_outbox_part(box, &part))) {
            w->status = PC_NO_MEMORY;
        }
    }
    return pc_outbox_end(box, mark);
}

/* The frame of what would be the lane's next call. False, with nothing changed, when out of memory. */
static bool make_ready(struct pc_lane *lane, struct pc_call *call, const struct pc_body *body) {
    size_t before = pc_outbox_pending(&lane->pending.box);
    bool kept;
    call->id = lane->last_id + 1;
    bool good = write_frame(lane, call, body, &kept) == PC_OK;
    if (good) {
        size_t n = pc_outbox_pending(&lane->pending.box) - before;
        call->begin = lane->made;
        call->end = lane->made += n;
        call->bytes = n + body->apart;
    }
    if (good && body->owned && !kept) {
        free(body->data);
    } else if (!good && kept) {
        pc_load_out_forget(&lane->pending, body->data);
    }
    return good;
}

void pc_lane_add(struct pc_lane *lane, struct pc_call *call, int64_t now) {
    lane->last_id = call->id;
    call->lane = lane;
    call->sent = now;
    call->state = PC_CALL_OUT;
    if (lane->first == NULL) {
        lane->since = now;
    }
    append(&lane->first, &lane->last, call);
    set_load(lane->dispatch, lane, lane->load + 1, lane->inner + (call->inside != 0));
    pc_inner_begin(lane, call);
}

void pc_lane_remove(struct pc_lane *lane, struct pc_call *call) {
    unlink_call(&lane->first, &lane->last, call);
    set_load(lane->dispatch, lane, lane->load - 1, lane->inner - (call->inside != 0));
    pc_inner_end(lane, call);
    let_go(call);
    if (call->state == PC_CALL_STUCK) { /* it has ended after all */
        call->state = PC_CALL_LEFT;
        lane->stuck--;
    }
}

/* The call, which is in no list and whose frame is ready, is the lane's. */
static void send_out(struct pc_lane *lane, struct pc_call *call, int64_t now) {
    lane->ready++;
    lane->calls++;
    lane->bytes_out += call->bytes;
    pc_lane_add(lane, call, now);
    if (call->tenant != NULL && call->target == NULL) {
        pc_tenant_reserve(call->tenant, lane);
    }
}

/* One that waits. Without memory for it, it waits on: there may be some when the next call ends. */
static bool send_queued(struct pc_lane *lane, struct pc_call *call, int64_t now) {
    bool good = make_ready(lane, call, &call->body);
    if (good) {
        unqueue_call(lane->dispatch, call);
        send_out(lane, call, now);
    }
    return good;
}

void pc_lane_refill(struct pc_lane *lane, int64_t now) {
    struct pc_call *call;
    while (lane->open && lane->load < lane->dispatch->depth && (call = first_for(lane)) != NULL &&
           send_queued(lane, call, now)) {}
}

struct pc_lane *pc_dispatch_settle(struct pc_dispatch *d, int64_t now, struct pc_lane_actor at) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_call *call = d->unsettled ? d->any.first : NULL;
    struct pc_lane *lane = call == NULL || call->slot ? NULL : room_for(d, call);
    d->unsettled = lane != NULL && send_queued(lane, call, now);
    if (d->unsettled) {
        pc_lane_enter(lane, at);
    } else {
        lane = NULL;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return lane;
}

void pc_lane_run_inner(struct pc_lane *lane, int64_t now) {
    struct pc_call *call = lane->dispatch->inner == 0 ? NULL : pc_inner_next(lane);
    if (call != NULL) {
        call->inside = pc_inner_room(lane);
        if (!send_queued(lane, call, now)) {
            call->inside = 0; /* or for a worker that is free */
        }
    }
}

/* Of those that only one lane can take, one may always wait: whether that is free only its slot knows. */
static bool is_full(const struct pc_dispatch *d, const struct pc_call *call) {
    return call->target != NULL ? call->target->own.n > d->most_queued : d->any.n + d->reserving.n >= d->most_queued;
}

static enum pc_submitted enqueue(struct pc_dispatch *d, struct pc_call *call, struct pc_body *body, int64_t now) {
    if (is_full(d, call)) {
        return PC_SUBMIT_FULL;
    }
    call->body = *body;
    if (!body->owned && body->n > 0) {
        call->body.data = malloc(body->n);
        if (call->body.data == NULL) {
            return PC_SUBMIT_NO_MEMORY;
        }
        memcpy(call->body.data, body->data, body->n);
        call->body.owned = true;
    }
    call->state = PC_CALL_QUEUED;
    call->lane = NULL;
    call->sent = now;
    queue_call(d, call);
    return PC_SUBMIT_QUEUED;
}

/* A call for any lane goes to this one, or waits: whoever watches may want another worker. */
static void look_out(struct pc_dispatch *d, const struct pc_lane *lane) {
    if ((lane == NULL || lane->load >= d->width) && d->watch == WATCH_ON) {
        d->watch = WATCH_SEEN;
    }
}

static enum pc_submitted submit(struct pc_dispatch *d, struct pc_call *call, struct pc_body *body, int64_t now,
                                struct pc_lane_actor at, struct pc_lane **lane) {
    if ((call->target != NULL && call->target->over) || (call->tenant != NULL && call->tenant->ended)) {
        return PC_SUBMIT_GONE;
    }
    if (pc_inner_is_held(d, call)) {
        return PC_SUBMIT_HELD;
    }
    *lane = call->slot ? NULL : room_for(d, call);
    if (call->target == NULL) {
        look_out(d, *lane);
    }
    if (*lane == NULL && !call->slot && (*lane = pc_inner_lane(call)) != NULL) {
        call->inside = pc_inner_room(*lane);
    }
    if (*lane == NULL) {
        return enqueue(d, call, body, now);
    }
    if (!make_ready(*lane, call, body)) {
        call->inside = 0;
        return PC_SUBMIT_NO_MEMORY;
    }
    send_out(*lane, call, now);
    if (!call->urgent && (*lane)->load >= (*lane)->ready + d->width + ENOUGH) {
        return PC_SUBMIT_READY;
    }
    pc_lane_enter(*lane, at);
    return PC_SUBMIT_OUT;
}

enum pc_submitted pc_dispatch_submit(struct pc_dispatch *d, uint64_t key, struct pc_call *call, struct pc_body *body,
                                     int64_t now, struct pc_lane_actor at, struct pc_lane **lane) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_owner *owner = pc_owner_find(d, key);
    enum pc_submitted result = PC_SUBMIT_STRANGER;
    if (d->over) {
        result = PC_SUBMIT_OVER;
    } else if (owner != NULL) {
        result = submit(d, call, body, now, at, lane);
        if (result == PC_SUBMIT_OUT || result == PC_SUBMIT_READY || result == PC_SUBMIT_QUEUED) {
            pc_owner_add(owner, call);
            if (call->tenant != NULL) {
                call->tenant->calls++;
            }
        }
    }
    (void)pthread_mutex_unlock(&d->lock);
    return result;
}

void *pc_dispatch_next(struct pc_dispatch *d, struct pc_lane_actor at) {
    const struct pc_call any = {.target = NULL, .tenant = NULL};
    void *channel = NULL;
    (void)pthread_mutex_lock(&d->lock);
    struct pc_lane *lane = room_for(d, &any);
    if (lane != NULL) {
        channel = lane->channel;
        at.ops->keep(channel);
        look_out(d, lane);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return channel;
}

void pc_dispatch_limit(struct pc_dispatch *d, size_t most_queued) {
    (void)pthread_mutex_lock(&d->lock);
    d->most_queued = most_queued;
    (void)pthread_mutex_unlock(&d->lock);
}

void pc_dispatch_watch(struct pc_dispatch *d) {
    (void)pthread_mutex_lock(&d->lock);
    d->watch = WATCH_ON;
    (void)pthread_mutex_unlock(&d->lock);
}

bool pc_dispatch_wants(struct pc_dispatch *d) {
    unsigned seen = WATCH_SEEN;
    return d->watch == WATCH_SEEN && atomic_compare_exchange_strong(&d->watch, &seen, WATCH_OFF);
}
