/*
 * A lane's descriptor: who is at it, what is sent, and when it goes back. Two outboxes: what is ready collects in `pending`, under the
 * lock, while one thread sends what was ready before, without it; so one system call sends what many threads have made ready meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/dispatch.h"
#include "wire/lanes.h"

enum {
    MOST_TURNS = 8, /* of sending what came in meanwhile, before somebody else goes on */
    FEW_OWNED = 8,
};

static void load_out_init(struct pc_load_out *out) {
    memset(out, 0, sizeof *out);
    pc_outbox_init(&out->box);
}

/* All has been sent, or never will be. */
static void free_owned(struct pc_load_out *out) {
    for (size_t i = 0; i < out->owned_count; i++) {
        free(out->owned[i]);
    }
    out->owned_count = 0;
}

static void load_out_destroy(struct pc_load_out *out) {
    free_owned(out);
    free(out->owned);
    pc_outbox_destroy(&out->box);
}

bool pc_load_out_keep(struct pc_load_out *out, void *memory) {
    if (out->owned_count == out->owned_cap) {
        size_t cap = out->owned_cap == 0 ? FEW_OWNED : 2 * out->owned_cap;
        void **owned = realloc(out->owned, cap * sizeof *owned);
        if (owned == NULL) {
            return false;
        }
        out->owned = owned;
        out->owned_cap = cap;
    }
    out->owned[out->owned_count++] = memory;
    return true;
}

void pc_load_out_forget(struct pc_load_out *out, const void *memory) {
    if (out->owned_count > 0 && out->owned[out->owned_count - 1] == memory) {
        out->owned_count--;
    }
}

static void lock(struct pc_lane *lane) { (void)pthread_mutex_lock(&lane->dispatch->lock); }
static void unlock(struct pc_lane *lane) { (void)pthread_mutex_unlock(&lane->dispatch->lock); }

/* ---- Life */

void pc_lane_init(struct pc_lane *lane, struct pc_dispatch *d, void *channel, int fd, unsigned index,
                  size_t max_frame) {
    memset(lane, 0, sizeof *lane);
    lane->dispatch = d;
    lane->channel = channel;
    lane->fd = fd;
    lane->index = index;
    lane->max_frame = max_frame;
    load_out_init(&lane->pending);
    load_out_init(&lane->sending);
}

/* Under the lock. */
static bool opens(const struct pc_lane *lane, bool if_needed) {
    return !lane->closed && !lane->over && !lane->dispatch->over && (!if_needed || pc_lane_is_needed(lane));
}

bool pc_lane_would_open(struct pc_lane *lane) {
    lock(lane);
    bool would = opens(lane, true) || (opens(lane, false) && pc_lane_first_for_slot(lane) != NULL);
    unlock(lane);
    return would;
}

struct pc_call *pc_lane_take_for_slot(struct pc_lane *lane) {
    lock(lane);
    struct pc_call *call = opens(lane, false) ? pc_lane_first_for_slot(lane) : NULL;
    if (call != NULL) {
        pc_call_take_unsent(lane->dispatch, call);
    }
    unlock(lane);
    return call;
}

void pc_lane_hold(struct pc_lane *lane) {
    lane->held = true;
    lane->open = !lane->over;
    lane->noted = false;
    if (lane->open && !pc_lane_is_reserved(lane)) {
        pc_lane_list(lane);
    }
}

bool pc_lane_open(struct pc_lane *lane, uint64_t last_id, bool if_needed, int64_t now, struct pc_lane_actor at) {
    lock(lane);
    bool is_open = opens(lane, if_needed);
    if (is_open) {
        lane->last_id = last_id;
        pc_lane_hold(lane);
        pc_lane_refill(lane, now);
        pc_lane_enter(lane, at);
    }
    unlock(lane);
    return is_open;
}

void pc_lane_destroy(struct pc_lane *lane) {
    load_out_destroy(&lane->pending);
    load_out_destroy(&lane->sending);
}

void pc_lane_shut(struct pc_lane *lane) {
    if (lane->listed) {
        pc_lane_unlist(lane);
    }
    lane->open = false;
}

void pc_lane_close_door(struct pc_lane *lane) {
    pc_lane_shut(lane);
    lane->over = true;
}

size_t pc_lane_retire(struct pc_lane *lane, uint64_t *ids, size_t most) {
    size_t n = 0;
    lock(lane);
    lane->retiring = true;
    if (lane->listed) {
        pc_lane_unlist(lane);
    }
    const struct pc_call *call = lane->last;
    for (unsigned run = lane->dispatch->width, load = lane->load; load > run && n < most; call = call->prev, load--) {
        if (call->target == NULL && call->inside == 0) {
            ids[n++] = call->id;
        }
    }
    unlock(lane);
    return n;
}

void pc_lane_stop(struct pc_lane *lane) {
    lock(lane);
    pc_lane_close_door(lane);
    unlock(lane);
}

enum pc_lane_state pc_lane_drain(struct pc_lane *lane) {
    lock(lane);
    pc_lane_close_door(lane);
    lane->draining = true;
    enum pc_lane_state state = !lane->held ? PC_LANE_AWAY : lane->load == 0 ? PC_LANE_IDLE : PC_LANE_BUSY;
    lane->telling = state == PC_LANE_BUSY;
    unlock(lane);
    return state;
}

bool pc_lane_is_draining(struct pc_lane *lane) {
    lock(lane);
    bool draining = lane->draining;
    unlock(lane);
    return draining;
}

bool pc_lane_is_drained(struct pc_lane *lane) {
    lock(lane);
    bool drained = lane->telling && lane->load == lane->stuck;
    lane->telling = lane->telling && !drained;
    unlock(lane);
    return drained;
}

bool pc_lane_stop_at(struct pc_lane *lane, uint64_t id) {
    lock(lane);
    bool out = lane->first != NULL && lane->first->id == id;
    if (out) {
        pc_lane_close_door(lane);
    }
    unlock(lane);
    return out;
}

bool pc_lane_append(struct pc_lane *lane, const uint8_t *frames, size_t n, bool only_idle) {
    lock(lane);
    bool good = !only_idle || lane->load == 0;
    if (good) {
        struct pc_writer *w = &lane->pending.box.w;
        w->grow = pc_grow_malloc;
        w->max = w->len + n;
        pc_writer_append(w, frames, n);
        good = w->status == PC_OK;
        w->status = PC_OK;
        lane->noted = lane->noted || (good && !lane->held);
        lane->made += good ? n : 0;
    }
    if (good && only_idle) {
        pc_lane_close_door(lane);
    }
    unlock(lane);
    return good;
}

static enum pc_status write_around(struct pc_load_out *to, const uint8_t *head, size_t n, const struct pc_body *body,
                                   size_t max_frame) {
    struct pc_outbox *box = &to->box;
    if (n > max_frame || body->n > max_frame - n) {
        return PC_TOO_BIG;
    }
    size_t mark = pc_outbox_begin(box, max_frame);
    bool kept = false;
    pc_writer_append(&box->w, head, n);
    if (!body->owned) {
        pc_writer_append(&box->w, body->data, body->n);
    } else if (box->w.status == PC_OK) {
        const struct pc_part part = {.at = box->w.len, .data = body->data, .n = body->n};
        kept = pc_load_out_keep(to, body->data);
        if (!kept || !pc_outbox_part(box, &part)) {
            box->w.status = PC_NO_MEMORY;
        }
    }
    enum pc_status status = pc_outbox_end(box, mark);
    if (status != PC_OK && kept) {
        pc_load_out_forget(to, body->data);
    }
    return status;
}

enum pc_status pc_lane_send(struct pc_lane *lane, const uint8_t *head, size_t n, const struct pc_body *body) {
    lock(lane);
    size_t before = pc_outbox_pending(&lane->pending.box);
    enum pc_status status = write_around(&lane->pending, head, n, body, lane->max_frame);
    if (status == PC_OK) {
        lane->made += pc_outbox_pending(&lane->pending.box) - before;
    }
    unlock(lane);
    return status;
}

bool pc_lane_look(struct pc_lane *lane, uint64_t id, void (*look)(struct pc_call *call, void *context), void *context) {
    lock(lane);
    struct pc_call *call = pc_lane_find_sent(lane, id);
    bool waits = call != NULL && call->state == PC_CALL_OUT;
    if (waits) {
        look(call, context);
    }
    unlock(lane);
    return waits;
}

bool pc_lane_awaits(struct pc_lane *lane) {
    lock(lane);
    bool awaits = lane->load > 0 || lane->blocked || !lane->open || pc_lane_is_reserved(lane);
    unlock(lane);
    return awaits;
}

void pc_lane_count(struct pc_lane *lane, struct pc_lane_counts *n) {
    lock(lane);
    n->load += lane->load;
    n->first = lane->first == NULL ? 0 : lane->first->id;
    for (const struct pc_call *call = lane->first; call != NULL && call->id <= n->last_started; call = call->next) {
        n->started++;
    }
    n->calls += lane->calls;
    n->bytes_out += lane->bytes_out;
    unlock(lane);
}

bool pc_lane_nudge(struct pc_lane *lane, int64_t now, struct pc_lane_actor at) {
    lock(lane);
    bool good = lane->held && !lane->closed;
    if (good) {
        pc_lane_refill(lane, now);
        pc_lane_enter(lane, at);
    }
    unlock(lane);
    return good;
}

/* ---- At the descriptor */

void pc_lane_enter(struct pc_lane *lane, struct pc_lane_actor at) {
    lane->users++;
    at.ops->keep(lane->channel);
}

bool pc_lane_pin(struct pc_lane *lane, struct pc_lane_actor at) {
    lock(lane);
    bool good = lane->held && !lane->closed;
    if (good) {
        pc_lane_enter(lane, at);
    }
    unlock(lane);
    return good;
}

bool pc_lane_return(struct pc_lane *lane, struct pc_lane_actor at, uint64_t *last_id) {
    lock(lane);
    bool idle = lane->users == 1 && lane->open && !lane->closed && lane->load == 0 && !pc_lane_is_reserved(lane) &&
                pc_outbox_pending(&lane->pending.box) + pc_outbox_pending(&lane->sending.box) == 0;
    if (idle) {
        pc_lane_shut(lane);
        lane->held = false;
        lane->users = 0;
        *last_id = lane->last_id;
    }
    unlock(lane);
    if (idle) {
        at.ops->release(lane->channel);
    }
    return idle;
}

void pc_lane_unpin(struct pc_lane *lane, struct pc_lane_actor at) {
    lock(lane);
    bool last = --lane->users == 0 && lane->closed && lane->held;
    lane->held = lane->held && !last;
    unlock(lane);
    if (last) {
        at.ops->close(lane->channel, at.env);
    }
    at.ops->release(lane->channel);
}

bool pc_lane_close(struct pc_lane *lane, struct pc_lane_actor at) {
    lock(lane);
    bool first = !lane->closed;
    bool now = first && lane->users == 0 && lane->held;
    lane->held = lane->held && !now;
    pc_lane_close_door(lane);
    lane->closed = true;
    unlock(lane);
    if (now) {
        at.ops->close(lane->channel, at.env);
    }
    return first;
}

/* ---- Sending */

/* Under the lock. */
static bool is_free_to_send(const struct pc_lane *lane) {
    return !lane->flushing && !lane->blocked && !lane->silent && !lane->closed;
}

/* Under the lock: what is next to be sent is in `sending`; whether there is anything. */
static bool load_up(struct pc_lane *lane) {
    if (pc_outbox_pending(&lane->sending.box) == 0) {
        struct pc_load_out sent = lane->sending;
        lane->sending = lane->pending;
        lane->pending = sent;
        lane->ready = 0;
    }
    return pc_outbox_pending(&lane->sending.box) > 0;
}

static enum pc_io send_some(struct pc_lane *lane) {
    enum pc_io io = pc_outbox_flush(&lane->sending.box, lane->fd);
    if (io == PC_IO_DONE) {
        free_owned(&lane->sending);
    }
    return io;
}

enum pc_io pc_lane_flush(struct pc_lane *lane, bool unblock) {
    enum pc_io io = PC_IO_DONE;
    lock(lane);
    if (unblock) {
        lane->blocked = false;
    }
    for (unsigned turn = 0; io == PC_IO_DONE && is_free_to_send(lane) && load_up(lane); turn++) {
        lane->flushing = true;
        unlock(lane);
        io = turn == MOST_TURNS ? PC_IO_AGAIN : send_some(lane);
        lock(lane);
        lane->flushing = false;
        lane->blocked = io != PC_IO_DONE;
    }
    unlock(lane);
    return io;
}
