/*
 * Calls inside of others, raced without a VM: two workers whose calls wait for functions which make calls, several levels deep, on either of them; callers from
 * outside; and some who leave in the middle. All goes on to its end, however it is mixed, and each call has one. Run it under ThreadSanitizer too: make -C
 * c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "fake_lanes.h"
#include "wire/inner.h"

enum { WORKERS = 2, CALLERS = 3, ROUNDS = 1500, MOST_LEVELS = 4, BODY = 9 };

/* What a call is, and whoever waits for it. */
struct job {
    struct pc_call call; /* the first member, so that one is the other */
    struct pc_outer outer[MOST_LEVELS];
    unsigned level;
    atomic_bool done;
};

struct worker {
    struct fake_lane l; /* the first member: the lane's channel is the worker */
    struct world *w;
    uint64_t functions;
    unsigned seed;
};

struct world {
    struct pc_dispatch d;
    struct pc_owner owners[WORKERS + CALLERS];
    struct worker workers[WORKERS];
    atomic_uint ended, inside;
    atomic_bool over;
};

static void keep(void *channel) { (void)channel; }
static void come_out(void *channel, void *env) { (void)channel, (void)env; }
static const struct pc_lane_ops ops = {.keep = keep, .release = keep, .close = come_out};
static const struct pc_lane_actor actor = {.ops = &ops, .env = NULL};

static unsigned any(unsigned *seed, unsigned n) {
    *seed = *seed * 1103515245U + 12345U;
    return (*seed >> 16) % n;
}

static void flush(struct pc_lane *lane) {
    (void)pc_lane_flush(lane, false);
    pc_lane_unpin(lane, actor);
}

/* Its body is where it lies. */
static void submit(struct world *w, unsigned owner, struct job *job) {
    uint8_t body[BODY] = {0xcf};
    uint64_t at_address = (uint64_t)(uintptr_t)job;
    for (unsigned i = 0; i < 8; i++) {
        body[8 - i] = (uint8_t)(at_address >> (8 * i));
    }
    struct pc_body b = {.data = body, .n = sizeof body};
    struct pc_lane *lane;
    job->call.urgent = true;
    switch (pc_dispatch_submit(&w->d, owner, &job->call, &b, 0, actor, &lane)) {
    case PC_SUBMIT_OUT:
        flush(lane);
        break;
    case PC_SUBMIT_QUEUED:
        break;
    default:
        abort();
    }
}

static bool run_some(struct worker *me);

/* Only one that runs inside of another: the lane of any other would be given up. */
static bool is_inside(const struct pc_call *call, const void *which) { return call == which && call->inside != 0; }

/* A function of a call: makes one itself, and waits for it, while the worker does what comes. True when somebody else has it now. */
static bool make_call(struct worker *me, const struct job *outer, uint64_t function) {
    struct world *w = me->w;
    unsigned key = (unsigned)(me - w->workers);
    struct job *job = calloc(1, sizeof *job);
    job->level = outer->level + 1;
    job->outer[0] = (struct pc_outer){.lane = &me->l.lane, .function = function};
    memcpy(job->outer + 1, outer->outer, outer->call.outer_count * sizeof *job->outer);
    job->call.outer = job->outer;
    job->call.outer_count = outer->call.outer_count + 1;
    submit(w, key, job);
    bool leaves = any(&me->seed, 8) == 0;
    while (!atomic_load(&job->done)) {
        struct pc_call *found;
        struct pc_lane *lane;
        uint64_t id;
        bool goes_on;
        if (leaves && pc_dispatch_leave(&w->d, key, is_inside, &job->call, false, actor, &found, &lane, &id,
                                        &goes_on) == PC_LEAVE_INNER) {
            pc_lane_unpin(lane, actor);
            return true;
        }
        if (!run_some(me)) {
            sched_yield();
        }
    }
    free(job);
    return false;
}

/* One call; whoever waits for it is told. */
static void run(struct worker *me, struct job *job, uint64_t id, uint64_t kind) {
    bool left, known;
    atomic_fetch_add(&me->w->inside, kind == PC_KIND_INNER);
    for (unsigned n = any(&me->seed, 3); n > 0 && job->level + 1 < MOST_LEVELS; n--) {
        uint64_t function = ++me->functions;
        if (pc_lane_waits(&me->l.lane, id, function)) {
            (void)make_call(me, job, function);
            pc_lane_waited(&me->l.lane, function, 0);
            if (pc_lane_pin(&me->l.lane, actor)) {
                flush(&me->l.lane);
            }
        }
    }
    struct pc_call *call = pc_lane_take(&me->l.lane, id, PC_MESSAGEPACK, 0, &left, &known);
    if (call != &job->call) {
        abort();
    }
    if (pc_lane_pin(&me->l.lane, actor)) {
        flush(&me->l.lane);
    }
    atomic_fetch_add(&me->w->ended, 1);
    if (left) {
        free(job);
    } else {
        atomic_store(&job->done, true);
    }
}

/* What has come, if anything has. */
static bool run_some(struct worker *me) {
    struct pollfd p = {.fd = me->l.peer, .events = POLLIN};
    uint8_t head[PC_FRAME_HEADER], payload[64];
    if (poll(&p, 1, 0) <= 0) {
        return false;
    }
    read_exactly(me->l.peer, head, sizeof head);
    size_t n = pc_frame_length(head);
    read_exactly(me->l.peer, payload, n);
    struct pc_reader r;
    uint32_t count;
    uint64_t kind, id, where;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || pc_read_uint(&r, &kind) != PC_OK || pc_read_uint(&r, &id) != PC_OK ||
        pc_read_uint(&r, &where) != PC_OK) {
        abort();
    }
    run(me, (struct job *)(uintptr_t)where, id, kind);
    return true;
}

static void *work(void *argument) {
    struct worker *me = argument;
    while (!atomic_load(&me->w->over)) {
        if (!run_some(me)) {
            sched_yield();
        }
    }
    return NULL;
}

struct caller {
    struct world *w;
    unsigned key;
};

static void *call(void *argument) {
    const struct caller *me = argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct job *job = calloc(1, sizeof *job);
        submit(me->w, me->key, job);
        while (!atomic_load(&job->done)) {
            sched_yield();
        }
        free(job);
    }
    return NULL;
}

static void all_come_to_an_end(void **state) {
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    struct caller callers[CALLERS];
    pthread_t threads[WORKERS + CALLERS];
    assert_non_null(w);
    assert_true(pc_dispatch_init(&w->d, 1, 1, false));
    for (unsigned i = 0; i < WORKERS + CALLERS; i++) {
        w->owners[i].key = i;
        assert_null(pc_dispatch_meet(&w->d, &w->owners[i]));
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        fake_lane_open(&w->workers[i].l, &w->d, i);
        w->workers[i].w = w;
        w->workers[i].seed = i + 1;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &w->workers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.w = w, .key = WORKERS + i};
        assert_int_equal(pthread_create(&threads[WORKERS + i], NULL, call, &callers[i]), 0);
    }
    for (unsigned i = WORKERS; i < WORKERS + CALLERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&w->over, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(w->workers[i].l.lane.load, 0);
        assert_int_equal(w->workers[i].l.lane.waits_count, 0);
        fake_lane_destroy(&w->workers[i].l);
    }
    assert_true(w->ended > CALLERS * ROUNDS);
    assert_true(w->inside > 0);
    assert_int_equal(w->d.out + w->d.inner + w->d.any.n, 0);
    for (unsigned i = 0; i < WORKERS + CALLERS; i++) {
        assert_ptr_equal(pc_dispatch_part(&w->d, i), &w->owners[i]);
    }
    pc_dispatch_destroy(&w->d);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_come_to_an_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
