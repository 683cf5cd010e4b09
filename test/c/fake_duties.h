#ifndef PC_TEST_FAKE_DUTIES_H
#define PC_TEST_FAKE_DUTIES_H

/* What c_src/nif makes of dispatcher, lanes and slots, without a VM: the same duties in the same order. */

#include <sched.h>

#include "codec/reader.h"
#include "fake_pool.h"
#include "wire/call_head.h"
#include "wire/kinds.h"

/* ---- Frames: both ends know what a call and its answer hold */

enum { MASK = 0x5a5a5a5a };

/* Few are large: those are sent from where they are, and in as many pieces as the socket wants. */
static size_t size_of(unsigned number, unsigned seed) {
    static const size_t sizes[] = {16, 40, 700, 16, 9000, 16, 16, 16};
    return (number + seed) % 40 == 0 ? 70000 : sizes[(number * 3 + seed) % 8];
}

static bool is_json(unsigned number) { return number % 5 == 0; }

/* The number, and then bytes that tell it. */
static void fill(uint8_t *p, size_t n, uint32_t number) {
    memcpy(p, &number, sizeof number);
    for (size_t i = sizeof number; i < n; i++) {
        p[i] = (uint8_t)(number + i);
    }
}

static bool is_filled(const uint8_t *p, size_t n, size_t wanted, uint32_t number) {
    bool same = n == wanted;
    for (size_t i = sizeof number; same && i < n; i++) {
        same = p[i] == (uint8_t)(number + i);
    }
    return same;
}

static uint32_t number_in(const uint8_t *p) {
    uint32_t number;
    memcpy(&number, p, sizeof number);
    return number;
}

/* ---- The channel's duties, as in c_src/nif/channel.c */

static void use(struct channel *c) { expect(c->world, c->open == 1); }

static void wake(struct channel *c) {
    const uint64_t one = 1;
    demand(write(c->wake, &one, sizeof one) == sizeof one);
}

static void close_now(void *channel, void *env) {
    (void)env;
    struct channel *c = channel;
    expect(c->world, c->open == 1);
    c->open = 0;
    pthread_mutex_lock(&c->lock);
    c->stopped = true; /* its reader closes the descriptor, which nobody may be waiting at then */
    pthread_mutex_unlock(&c->lock);
    wake(c);
}

static void hand_on(void *channel, void *env);
static void tell_worker(void *channel, void *env, enum pc_why why) {
    (void)env, (void)why;
    struct channel *c = channel;
    post(c->world, NOTE_LOST, c, 0);
}
static void tell_owner(void *channel, void *env) { (void)channel, (void)env; }

static const struct pc_machine_ops machine_ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_now};
static const struct pc_actor on_machine = {.ops = &machine_ops, .env = NULL};

static void come_out(void *channel, void *env) {
    (void)env;
    pc_machine_leave(&((struct channel *)channel)->m, on_machine, PC_PIPELINED, false);
}

static const struct pc_lane_ops lane_ops = {.keep = channel_keep, .release = channel_release, .close = come_out};
static const struct pc_lane_actor on_lane = {.ops = &lane_ops, .env = NULL};

/* ---- Lanes, as in nif_lane.c */

static void tell_lost(struct channel *c) {
    pc_lane_stop(&c->lane);
    post(c->world, NOTE_LOST, c, 0);
}

/* Of a pinned lane; unpins. */
static void flush_lane(struct channel *c, bool unblock) {
    use(c);
    switch (pc_lane_flush(&c->lane, unblock)) {
    case PC_IO_AGAIN:
        pthread_mutex_lock(&c->lock);
        c->full = true;
        pthread_mutex_unlock(&c->lock);
        wake(c);
        break;
    case PC_IO_EOF:
        tell_lost(c);
        break;
    default:
        break;
    }
    pc_lane_unpin(&c->lane, on_lane);
}

static void lend(struct channel *c) {
    struct world *w = c->world;
    if (pc_machine_enter(&c->m, PC_FREE) == 0) {
        return; /* condemned while it lay free */
    }
    for (unsigned i = w->seed / 2 % 3; i > 0; i--) {
        sched_yield(); /* much may happen meanwhile */
    }
    if (!pc_lane_open(&c->lane, c->call_id, true, now_of(w), on_lane)) {
        pc_machine_leave(&c->m, on_machine, PC_FREE, false);
        return;
    }
    pc_machine_become(&c->m, PC_PIPELINED);
    atomic_fetch_add(&w->lent, 1);
    pthread_mutex_lock(&c->lock);
    c->lent = true;
    pthread_mutex_unlock(&c->lock);
    wake(c);
    flush_lane(c, false);
}

static bool give_back(struct channel *c) {
    uint64_t last_id;
    if (!pc_lane_return(&c->lane, on_lane, &last_id)) {
        return false;
    }
    c->call_id = last_id;
    pc_machine_leave(&c->m, on_machine, PC_FREE, false);
    return true;
}

static void say_idle(struct world *w) {
    if (pc_dispatch_is_uneven(&w->d)) {
        post(w, NOTE_UNEVEN, NULL, 0);
    }
}

/* After calls of a lane have ended: the crew may be waiting for the last one. */
static void say_drained(struct channel *c) {
    if (pc_lane_is_drained(&c->lane)) {
        post(c->world, NOTE_DRAINED, c, 0);
    }
}

static void lane_drop(struct channel *c, uint64_t id) {
    bool left, known;
    if (!pc_lane_pin(&c->lane, on_lane)) {
        return;
    }
    struct pc_call *call = pc_lane_take(&c->lane, id, PC_ANY_FORMAT, now_of(c->world), &left, &known);
    if (call != NULL) {
        call->state = left ? PC_CALL_LEFT : PC_CALL_OVER;
        call->next = NULL;
        end_calls(c->world, call, UNSTARTED);
        say_idle(c->world);
        say_drained(c);
    }
    flush_lane(c, false);
}

/* The worker is dead; what it had not started, or for sure not seen, goes elsewhere. */
static void end_lane(struct channel *c) {
    uint64_t started = c->world->lends ? pc_lane_silence(&c->lane) : c->worker.started;
    pc_lane_stop(&c->lane);
    end_calls(c->world, pc_lane_take_after(&c->lane, started), UNSTARTED);
    struct pc_call *ended = pc_lane_take_after(&c->lane, 0);
    expect(c->world, ended == NULL || (ended->next == NULL && !c->worker.dismissed)); /* the one that ran */
    end_calls(c->world, ended, EXITED);
}

static void channel_close(struct channel *c) {
    pc_machine_close(&c->m, on_machine);
    if (pc_lane_close(&c->lane, on_lane)) {
        channel_release(c);
    }
}

/* ---- The table, as in slots.c */

static struct channel *slots_take(struct world *w) {
    struct channel *c = NULL;
    pthread_mutex_lock(&w->table_lock);
    if (w->free > 0) {
        unsigned index = w->stack[--w->free];
        w->is_free[index] = false;
        c = w->slots[index];
        channel_keep(c);
    }
    pthread_mutex_unlock(&w->table_lock);
    return c;
}

static bool put_back(struct world *w, const struct channel *c) {
    pthread_mutex_lock(&w->table_lock);
    bool listed = w->slots[c->index] == c;
    if (listed && !w->is_free[c->index]) {
        w->is_free[c->index] = true;
        w->stack[w->free++] = c->index;
    }
    pthread_mutex_unlock(&w->table_lock);
    changed(w);
    return listed;
}

static struct channel *take_wanted(struct world *w) {
    struct channel *c = NULL;
    pthread_mutex_lock(&w->table_lock);
    for (unsigned i = w->free; i > 0 && c == NULL; i--) {
        unsigned index = w->stack[i - 1];
        if (pc_lane_would_open(&w->slots[index]->lane)) {
            c = w->slots[index];
            memmove(&w->stack[i - 1], &w->stack[i], (w->free - i) * sizeof w->stack[0]);
            w->free--;
            w->is_free[index] = false;
            channel_keep(c);
        }
    }
    pthread_mutex_unlock(&w->table_lock);
    return c;
}

static void slots_lend(struct world *w) {
    struct channel *c;
    while (pc_dispatch_waits(&w->d) && (c = take_wanted(w)) != NULL) {
        lend(c);
        channel_release(c);
    }
}

static void hand_on(void *channel, void *env) {
    (void)env;
    struct channel *c = channel;
    if (pc_dispatch_waits(&c->world->d) && pc_lane_would_open(&c->lane)) {
        lend(c);
    } else if (put_back(c->world, c)) {
        slots_lend(c->world);
    } else if (pc_lane_is_draining(&c->lane)) {
        post(c->world, NOTE_DRAINED, c, 0);
    }
}

static bool slots_install(struct world *w, struct channel *c) {
    demand(pc_machine_enter(&c->m, PC_CONTROL) != 0);
    pthread_mutex_lock(&w->table_lock);
    bool installed = !w->over;
    if (installed) {
        demand(w->slots[c->index] == NULL);
        w->slots[c->index] = c;
        channel_keep(c);
    }
    pthread_mutex_unlock(&w->table_lock);
    pc_machine_leave(&c->m, on_machine, installed ? PC_FREE : PC_CONTROL, false);
    return installed;
}

static void slots_remove(struct world *w, unsigned index) {
    pthread_mutex_lock(&w->table_lock);
    struct channel *c = w->slots[index];
    w->slots[index] = NULL;
    if (w->is_free[index]) {
        unsigned i = 0;
        while (w->stack[i] != index) {
            i++;
        }
        w->free--;
        memmove(&w->stack[i], &w->stack[i + 1], (w->free - i) * sizeof w->stack[0]);
        w->is_free[index] = false;
    }
    pthread_mutex_unlock(&w->table_lock);
    if (c != NULL) {
        channel_release(c);
    }
}

/* ---- Reading, as in nif_lane.c */

static bool deliver_frame(struct channel *c, const uint8_t *payload, size_t n) {
    struct world *w = c->world;
    bool left, known;
    uint64_t id;
    if (n < sizeof id + sizeof(uint32_t)) {
        return false;
    }
    memcpy(&id, payload, sizeof id);
    uint32_t number = number_in(payload + sizeof id) ^ MASK;
    enum pc_format format = is_json(number) ? PC_JSON : PC_MESSAGEPACK;
    struct job *job = (struct job *)pc_lane_take(&c->lane, id, format, now_of(w), &left, &known);
    if (job != NULL) {
        bool own = job->number == number;
        expect(w, own);
        expect(w, own && is_filled(payload + sizeof id, n - sizeof id, size_of(number, w->seed + 1), number ^ MASK));
        if (left) {
            job_drop(w, job);
        } else {
            job_end(w, job, ANSWERED);
        }
    }
    return job != NULL || known;
}

static enum pc_io deliver_all(struct channel *c, unsigned *n) {
    enum { MOST = 16 };
    for (*n = 0; *n < MOST; ++*n) {
        const uint8_t *payload;
        size_t size;
        if (*n > 0 && !pc_inbox_whole(&c->in)) {
            break;
        }
        enum pc_io io = pc_inbox_read(&c->in, c->fd, LIMIT, LIMIT, &payload, &size);
        if (io != PC_IO_DONE) {
            return io;
        }
        if (!deliver_frame(c, payload, size)) {
            return PC_IO_BAD;
        }
        pc_inbox_consume(&c->in);
    }
    return PC_IO_MORE;
}

enum turn { TURN_MORE, TURN_AGAIN, TURN_LOST, TURN_IDLE };

static enum turn deliver(struct channel *c) {
    struct world *w = c->world;
    unsigned n;
    step(w);
    if (!pc_lane_pin(&c->lane, on_lane)) {
        return TURN_IDLE;
    }
    use(c);
    enum turn turn = TURN_MORE;
    enum pc_io io = deliver_all(c, &n);
    say_drained(c);
    if (io == PC_IO_EOF || io == PC_IO_BAD) {
        expect(w, io == PC_IO_EOF);
        tell_lost(c);
        turn = TURN_LOST;
    } else if (w->lends && give_back(c)) {
        return TURN_IDLE;
    } else if (io == PC_IO_AGAIN && n == 0 && (!w->lends || pc_lane_awaits(&c->lane))) {
        say_idle(w);
        turn = TURN_AGAIN;
    }
    flush_lane(c, false);
    return turn;
}

#endif
