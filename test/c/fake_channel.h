#ifndef PC_TEST_FAKE_CHANNEL_H
#define PC_TEST_FAKE_CHANNEL_H

/*
 * What c_src/nif makes of the machine, without a VM: the same stays inside, the same selects and the same accounts of them.
 * What is plain in struct pc_channel is plain here. For test_wire_channel_races.c, after cmocka.h.
 */

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "fake_select.h"
#include "wire/io.h"
#include "wire/kinds.h"
#include "wire/machine.h"

enum { OWNERS = 4, LIMIT = 1 << 20, SHARE = 3000, SECONDS = 10 };

/* A process of the VM that claims the channel. */
struct owner {
    struct mailbox mailbox;
    pthread_mutex_t running; /* held in NIFs on a normal scheduler, where no process dies */
    bool monitored;          /* as is this */
};

struct world {
    struct pc_machine m;
    int fd;
    struct pc_inbox in;
    struct pc_outbox out;
    struct owner *owner;
    unsigned armed, owed;
    uint8_t call_id;

    struct fake_select *select;
    int peer;
    struct owner owners[OWNERS];
    struct owner *_Atomic current;
    atomic_int handed_on, cut, lost, told, closed, violated_at;
    /* Steps of the owner and the peer, and after which of them what happens. */
    atomic_int steps, over;
    sem_t verdict_due, kill_due;
    int verdict_at, kill_at, leave_at, dirty_until, hang_up_at;
    unsigned seed;
    int answers, verdicts, abandoned;
};

/* What is wrong is told by the main thread, with the line where it was. */
#define expect(w, condition) expect_at(w, condition, __LINE__)
static void expect_at(struct world *w, bool condition, int line) {
    if (!condition) {
        atomic_store(&w->violated_at, line);
    }
}

static void step(struct world *w) {
    int now = 1 + atomic_fetch_add(&w->steps, 1);
    if (now == w->verdict_at) {
        sem_post(&w->verdict_due);
    }
    if (now == w->kill_at) {
        sem_post(&w->kill_due);
    }
}

/* Nobody waits for a step any more. */
static void set_over(struct world *w) {
    if (atomic_exchange(&w->over, 1) == 0) {
        sem_post(&w->verdict_due);
        sem_post(&w->kill_due);
    }
}

/* Under the mailbox's lock: until a wanted message is there. False if the process dies, or none comes. */
static bool wait_message(struct world *w, struct mailbox *m, bool select, bool verdict) {
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += SECONDS;
    int late = 0;
    while (late == 0 && !m->dead && !(select && m->selects > 0) && !(verdict && m->verdict)) {
        late = pthread_cond_timedwait(&m->changed, &m->lock, &end);
    }
    expect(w, late == 0);
    return late == 0 && !m->dead;
}

/* ---- The channel's duties, as in c_src/nif/channel.c and nif_claim.c */

static void unselect(struct world *w) {
    if (w->armed != 0) {
        unsigned late = w->armed & ~fake_select_cancel(w->select, w->fd, w->armed);
        w->owed += (late & SELECT_IN) != 0;
        w->owed += (late & SELECT_OUT) != 0;
        w->armed = 0;
    }
}

static void answered(struct world *w) {
    if (w->owed == 0 && w->armed != (SELECT_IN | SELECT_OUT)) {
        w->armed = 0;
        return;
    }
    unselect(w);
    w->owed -= w->owed > 0;
}

static void arm(struct world *w, struct owner *o, unsigned bits) {
    w->armed |= bits;
    fake_select_arm(w->select, w->fd, bits, &o->mailbox);
}

static void hand_on(void *w, void *env) { (void)env, atomic_fetch_add(&((struct world *)w)->handed_on, 1); }

static void tell_worker(void *channel, void *env, enum pc_why why) {
    (void)env;
    struct world *w = channel;
    atomic_fetch_add(why == PC_CUT ? &w->cut : &w->lost, 1);
    set_over(w);
}

static void tell_owner(void *channel, void *env) {
    (void)env;
    struct world *w = channel;
    struct mailbox *m = &w->owner->mailbox;
    unselect(w);
    atomic_fetch_add(&w->told, 1);
    pthread_mutex_lock(&m->lock);
    m->verdict = true;
    m->owed = w->owed;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void close_now(void *channel, void *env) {
    (void)env;
    struct world *w = channel;
    atomic_fetch_add(&w->closed, 1);
    fake_select_stop(w->select, w->fd);
    w->fd = -1;
}

static const struct pc_machine_ops ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_now};
static const struct pc_actor at = {.ops = &ops, .env = NULL};

static _Thread_local unsigned withdrawn;

static void withdraw(void *channel, void *env, bool open) {
    (void)env;
    struct world *w = channel;
    bool outstanding = (pc_machine_word(&w->m) & PC_OUTSTANDING) != 0;
    if (open && outstanding) {
        unselect(w);
    }
    withdrawn = open || !outstanding ? w->owed : 0;
    w->owner->monitored = false;
}

/* ---- Frames: both ends know what a call and its answer hold */

static size_t size_of(uint8_t id, unsigned seed) {
    static const size_t sizes[] = {1, 9, 700, 20000};
    return sizes[(id + seed) % 4];
}

static void write_frame(struct pc_outbox *out, uint8_t id, size_t n) {
    size_t mark = pc_outbox_begin(out, LIMIT);
    uint8_t *p = pc_writer_claim(&out->w, n);
    for (size_t i = 0; p != NULL && i < n; i++) {
        p[i] = (uint8_t)(id + i);
    }
    (void)pc_outbox_end(out, mark);
}

static bool is_frame(const uint8_t *payload, size_t n, uint8_t id, size_t wanted) {
    bool same = n == wanted;
    for (size_t i = 0; same && i < n; i++) {
        same = payload[i] == (uint8_t)(id + i);
    }
    return same;
}

/* ---- The owner's native functions. Each begins on a normal scheduler, where its process cannot die, or not at all. */

enum outcome { DEAD, SENT, AGAIN, LOST, POISONED, ANSWER };

static bool begin(struct world *w, struct owner *o) {
    step(w);
    pthread_mutex_lock(&o->running);
    pthread_mutex_lock(&o->mailbox.lock);
    bool dead = o->mailbox.dead;
    pthread_mutex_unlock(&o->mailbox.lock);
    if (dead) {
        pthread_mutex_unlock(&o->running);
    }
    return !dead;
}

static enum outcome end(struct owner *o, enum outcome outcome) {
    pthread_mutex_unlock(&o->running);
    return outcome;
}

static enum outcome nif_claim_for(struct world *w, struct owner *o) {
    if (pc_machine_enter(&w->m, PC_FREE) == 0) {
        return POISONED;
    }
    w->owner = o;
    atomic_store(&w->current, o); /* whom the killer looks for */
    bool alive = begin(w, o);
    if (alive) {
        o->monitored = true;
        (void)end(o, SENT);
    }
    step(w);
    pc_machine_leave(&w->m, at, alive ? PC_CLAIMED : PC_FREE, false);
    return alive ? SENT : DEAD;
}

/* The rest of a NIF on a dirty scheduler: there the process may die meanwhile. */
static bool go_dirty(struct world *w, struct owner *o, enum pc_phase phase) {
    pc_machine_leave(&w->m, at, phase, false);
    (void)end(o, AGAIN);
    bool alive = begin(w, o);
    if (alive) {
        (void)end(o, AGAIN);
    }
    step(w);
    return alive;
}

static enum outcome nif_call(struct world *w, struct owner *o) {
    if (!begin(w, o)) {
        return DEAD;
    }
    bool dirty = w->call_id < w->dirty_until;
    if (pc_machine_enter(&w->m, PC_CLAIMED) == 0) {
        return end(o, POISONED);
    }
    w->armed = w->owed = 0;
    if (dirty) {
        if (!go_dirty(w, o, PC_WRITING)) {
            return DEAD;
        }
        if (pc_machine_enter(&w->m, PC_WRITING) == 0) {
            return POISONED;
        }
    }
    w->call_id++;
    write_frame(&w->out, w->call_id, size_of(w->call_id, w->seed));
    w->armed = w->owed = 0;
    enum pc_io io = pc_outbox_flush(&w->out, w->fd);
    enum outcome outcome = SENT;
    if (io == PC_IO_EOF && w->out.sent == 0) {
        pc_machine_leave(&w->m, at, PC_CLAIMED, true);
        outcome = POISONED;
    } else {
        if (io != PC_IO_EOF) {
            arm(w, o, io == PC_IO_AGAIN ? SELECT_IN | SELECT_OUT : SELECT_IN);
        }
        pc_machine_leave(&w->m, at, io == PC_IO_AGAIN ? PC_WRITING : PC_WAITING, io == PC_IO_EOF);
    }
    return dirty ? outcome : end(o, outcome);
}

static enum outcome nif_reply(struct world *w, struct owner *o) {
    if (!begin(w, o)) {
        return DEAD;
    }
    bool dirty = false;
    enum outcome outcome = POISONED;
    uint32_t phase;
    while ((phase = pc_machine_enter(&w->m, PC_OUTSTANDING)) != 0) {
        const uint8_t *payload = NULL;
        size_t n = 0;
        if (!dirty) {
            answered(w);
        }
        step(w);
        enum pc_io io = pc_outbox_flush(&w->out, w->fd);
        if (io != PC_IO_EOF) {
            io = pc_inbox_read(&w->in, w->fd, LIMIT, dirty ? SIZE_MAX : SHARE, &payload, &n);
        }
        bool pending = pc_outbox_pending(&w->out) > 0;
        if (io == PC_IO_MORE) {
            if (!go_dirty(w, o, PC_READING)) {
                return DEAD;
            }
            dirty = true;
            outcome = LOST; /* if it is refused: the select message is accounted for */
            continue;
        }
        if (io == PC_IO_AGAIN) {
            arm(w, o, pending ? SELECT_IN | SELECT_OUT : SELECT_IN);
            phase = pending ? PC_WRITING : pc_inbox_partial(&w->in) ? PC_READING : PC_WAITING;
            pc_machine_leave(&w->m, at, (enum pc_phase)phase, false);
            outcome = AGAIN;
        } else if (io == PC_IO_DONE) {
            expect(w, !pending && is_frame(payload, n, w->call_id, size_of(w->call_id, w->seed + 1)));
            pc_inbox_consume(&w->in);
            pc_machine_leave(&w->m, at, PC_CLAIMED, false);
            outcome = ANSWER;
        } else {
            pc_machine_leave(&w->m, at, (enum pc_phase)phase, true);
            outcome = LOST;
        }
        break;
    }
    return dirty ? outcome : end(o, outcome);
}

#endif
