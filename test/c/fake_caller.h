#ifndef PC_TEST_FAKE_CALLER_H
#define PC_TEST_FAKE_CALLER_H

/* Callers: processes that claim slots or hand their calls to the dispatcher, wait for what becomes of them, give up, and die. */

#include <poll.h>

#include "fake_duties.h"

/* ---- Native functions: they run to their end, in a process that lives meanwhile, or not at all */

static bool begin(struct world *w, struct owner *o) {
    step(w);
    pthread_mutex_lock(&o->running);
    bool dead = o->dead;
    if (dead) {
        pthread_mutex_unlock(&o->running);
    }
    return !dead;
}

static void end(struct owner *o) { pthread_mutex_unlock(&o->running); }

static void set_outcome(struct record *r, enum outcome outcome, int expected) {
    pthread_mutex_lock(&r->owner->lock);
    r->outcome = outcome;
    r->expected += expected;
    pthread_mutex_unlock(&r->owner->lock);
}

static enum outcome outcome_of(struct record *r) {
    pthread_mutex_lock(&r->owner->lock);
    enum outcome outcome = r->outcome;
    pthread_mutex_unlock(&r->owner->lock);
    return outcome;
}

/* As in nif_submit.c. */
static void submit_job(struct world *w, struct owner *o, struct job *job, struct pc_body *body) {
    struct record *record = record_of(w, job->number);
    struct pc_lane *lane;
    enum pc_submitted how;
    set_outcome(record, WAITS, 1);
    atomic_fetch_add(&record->submitted, 1);
    atomic_fetch_add(&w->jobs, 1);
    while ((how = pc_dispatch_submit(&w->d, o->known.key, &job->call, body, now_of(w), on_lane, &lane)) ==
           PC_SUBMIT_STRANGER) {
        expect(w, pc_dispatch_meet(&w->d, &o->known) == NULL);
    }
    if (pc_dispatch_wants(&w->d)) {
        post(w, NOTE_WANTED, NULL, 0);
    }
    if (how == PC_SUBMIT_OUT) {
        flush_lane(lane->channel, false);
    } else if (how == PC_SUBMIT_QUEUED) {
        if (w->lends) {
            slots_lend(w);
        }
    } else if (how != PC_SUBMIT_READY) {
        expect(w, how == PC_SUBMIT_OVER || (how == PC_SUBMIT_FULL && w->limited));
        set_outcome(record, REFUSED, -1);
        if (body->owned) {
            free(body->data);
        }
        job_drop(w, job);
    }
}

/* False if the process is dead. */
static bool nif_submit(struct world *w, struct owner *o, unsigned number) {
    if (!begin(w, o)) {
        return false;
    }
    size_t n = size_of(number, w->seed);
    struct job *job = calloc(1, sizeof *job);
    uint8_t *data = malloc(n);
    demand(job != NULL && data != NULL);
    fill(data, n, number);
    struct pc_body body = {.data = data, .n = n, .owned = number % 2 == 0};
    job->number = number;
    job->call.json = is_json(number);
    job->call.finish = number % 4 == 0;
    submit_job(w, o, job, &body);
    if (number % 2 != 0) {
        memset(data, 0, n); /* was copied */
        free(data);
    }
    end(o);
    return true;
}

static bool has_number(const struct pc_call *call, const void *context) {
    return ((const struct job *)call)->number == *(const unsigned *)context;
}

/* As in dispatcher.c. */
static enum pc_leaving leave(struct world *w, struct owner *o, pc_call_test is_it, const unsigned *number,
                             bool only_queued) {
    struct pc_call *call;
    struct pc_lane *lane = NULL;
    uint64_t id = 0;
    bool goes_on = false;
    enum pc_leaving how =
        pc_dispatch_leave(&w->d, o->known.key, is_it, number, only_queued, on_lane, &call, &lane, &id, &goes_on);
    if (how == PC_LEAVE_QUEUED) {
        struct job *job = (struct job *)call;
        set_outcome(record_of(w, job->number), LEFT_QUEUE, -1);
        job_drop(w, job);
    } else if (lane != NULL) {
        post(w, goes_on ? NOTE_FINISH : NOTE_LEFT, lane->channel, id);
        pc_lane_unpin(lane, on_lane);
    }
    return how;
}

static bool nif_leave(struct world *w, struct owner *o, unsigned number, bool only_queued) {
    if (!begin(w, o)) {
        return false;
    }
    if (leave(w, o, has_number, &number, only_queued) == PC_LEAVE_OUT && !only_queued) {
        set_outcome(record_of(w, number), LEFT, -1);
    }
    end(o);
    return true;
}

/* Once: it exits, or is killed. The callbacks come afterwards. */
static bool die(struct world *w, struct owner *o) {
    pthread_mutex_lock(&o->running);
    bool first = !o->dead;
    struct channel *claimed = first ? o->claimed : NULL;
    pthread_mutex_lock(&o->lock);
    o->dead = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    if (first) {
        o->claimed = NULL;
    }
    pthread_mutex_unlock(&o->running);
    if (claimed != NULL) {
        pc_machine_owner_gone(&claimed->m, on_machine);
        channel_release(claimed);
    }
    if (first) {
        while (leave(w, o, NULL, NULL, false) != PC_LEAVE_NONE) {}
        const struct pc_owner *known = pc_dispatch_part(&w->d, o->known.key);
        expect(w, known == NULL || known == &o->known);
    }
    return first;
}

/* ---- Claims: of a slot, for one call, inside all the time */

static _Thread_local struct owner *self;

static void withdraw(void *channel, void *env, bool open) {
    (void)channel, (void)env, (void)open;
    self->claimed = NULL;
}

static enum pc_io wait_io(struct channel *c, enum pc_io io, short events) {
    struct pollfd p = {.fd = c->fd, .events = events};
    if (io == PC_IO_AGAIN) {
        (void)poll(&p, 1, -1);
    }
    return io;
}

static bool send_direct(struct channel *c, unsigned number) {
    struct pc_outbox out;
    size_t n = size_of(number, c->world->seed);
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, LIMIT);
    pc_call_head_write(&out.w, is_json(number), PC_CALL_FIELDS, c->call_id);
    uint8_t *p = pc_writer_claim(&out.w, n);
    demand(p != NULL);
    fill(p, n, number);
    demand(pc_outbox_end(&out, mark) == PC_OK);
    enum pc_io io;
    while ((io = wait_io(c, pc_outbox_flush(&out, c->fd), POLLOUT)) == PC_IO_AGAIN) {}
    pc_outbox_destroy(&out);
    return io == PC_IO_DONE;
}

static bool read_direct(struct channel *c, unsigned number) {
    const uint8_t *payload;
    size_t n;
    enum pc_io io;
    while ((io = wait_io(c, pc_inbox_read(&c->in, c->fd, LIMIT, LIMIT, &payload, &n), POLLIN)) == PC_IO_AGAIN ||
           io == PC_IO_MORE) {}
    if (io != PC_IO_DONE) {
        return false;
    }
    uint64_t id;
    memcpy(&id, payload, sizeof id);
    expect(c->world, id == c->call_id && number_in(payload + sizeof id) == (number ^ MASK));
    pc_inbox_consume(&c->in);
    return true;
}

/* As in nif_claim.c: a slot that is free, if there is one; NULL also if the process is dead then. */
static struct channel *nif_claim(struct world *w, struct owner *o) {
    struct channel *c;
    while ((c = slots_take(w)) != NULL) {
        if (pc_machine_enter(&c->m, PC_FREE) == 0) {
            channel_release(c);
            continue;
        }
        bool alive = begin(w, o);
        if (alive) {
            o->claimed = c;
            channel_keep(c);
            end(o);
        }
        pc_machine_leave(&c->m, on_machine, alive ? PC_CLAIMED : PC_FREE, false);
        if (alive) {
            return c;
        }
        channel_release(c);
        return NULL;
    }
    return NULL;
}

static void nif_checkin(struct world *w, struct owner *o, struct channel *c) {
    if (begin(w, o)) {
        self = o;
        (void)pc_machine_end(&c->m, on_machine, withdraw);
        end(o);
        channel_release(c); /* of the claim */
    }
    channel_release(c);
}

/* Goes on on a dirty scheduler, where it may die meanwhile. */
static bool nif_enter(struct world *w, struct owner *o, struct channel *c) {
    if (!begin(w, o)) {
        return false; /* the channel may be another's by now */
    }
    bool inside = pc_machine_enter(&c->m, PC_CLAIMED) != 0;
    end(o);
    return inside;
}

/* Whether the call went to a slot. */
static bool call_directly(struct world *w, struct owner *o, unsigned number) {
    struct channel *c = nif_claim(w, o);
    bool went = false;
    if (c == NULL) {
        return false;
    }
    if (nif_enter(w, o, c)) {
        went = true;
        use(c);
        c->call_id++;
        atomic_fetch_add(&w->claims, 1);
        bool good = send_direct(c, number) && read_direct(c, number);
        pc_machine_leave(&c->m, on_machine, PC_CLAIMED, !good);
        set_outcome(record_of(w, number), good ? ANSWERED : EXITED, 0);
    }
    nif_checkin(w, o, c);
    return went;
}

/* ---- What callers do */

/* Until the call has ended somehow; false if the process has. */
static bool await(struct world *w, struct owner *o, struct record *r) {
    const struct timespec late = deadline(SECONDS);
    int failed = 0;
    pthread_mutex_lock(&o->lock);
    while (!o->dead && r->outcome == WAITS && failed == 0) {
        failed = pthread_cond_timedwait(&o->changed, &o->lock, &late);
    }
    bool alive = !o->dead;
    pthread_mutex_unlock(&o->lock);
    if (failed != 0) {
        fprintf(stderr, "round %u: call %u got no answer\n", w->seed, (unsigned)(r - o->records) + o->first);
    }
    demand(failed == 0);
    return alive;
}

static void see_through(struct world *w, struct owner *o, unsigned i, unsigned patience) {
    struct record *r = &o->records[i];
    bool alive = true;
    if (patience < 3 && outcome_of(r) == WAITS) {
        alive = nif_leave(w, o, o->first + i, patience != 0);
    }
    while (alive && await(w, o, r) && outcome_of(r) == UNSTARTED) {
        alive = nif_submit(w, o, o->first + i);
    }
}

static void live(struct world *w, struct owner *o, unsigned *seed) {
    for (unsigned i = 0; i < BATCH; i++) {
        bool claims = w->lends && rand_r(seed) % 3 == 0;
        if (!(claims && call_directly(w, o, o->first + i)) && !nif_submit(w, o, o->first + i)) {
            return;
        }
    }
    for (unsigned i = 0; i < BATCH; i++) {
        if (rand_r(seed) % 12 == 0) {
            return; /* which ends the others */
        }
        see_through(w, o, i, (unsigned)rand_r(seed) % 10);
    }
}

#endif
