/*
 * A call that is taken over by its lane, raced without a VM against the end of its worker, a worker that is to leave, and the answer: over and over, with
 * the steps of both shifted against each other. Each time the call has exactly one end, whoever brings it; the descriptor is given back once; and a slot that
 * could be handed on is. Run it under ThreadSanitizer too: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "fake_lanes.h"
#include "wire/machine.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { ROUNDS = 20000 };
#else
enum { ROUNDS = 5000 };
#endif

enum { ME = 7, ID = 5, BYTES = 40, MOST_SHIFT = 64 };

/* What the worker's process does meanwhile. */
enum against { END, DRAIN, CLOSE_ONLY, AGAINST };

struct world {
    struct fake_lane l; /* the first member: the lane's channel is the world */
    struct pc_machine m;
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call call;
    enum against against;
    unsigned shift[2];
    atomic_int ready;
    atomic_int ended;   /* messages with the end of the call */
    atomic_int verdict; /* told to the owner of the claim */
    atomic_int freed, closed, drained, lost;
    bool taken;
};

/* ---- The machine's duties */

static void hand_on(void *channel, void *env) {
    (void)env;
    atomic_fetch_add(&((struct world *)channel)->freed, 1);
}
static void tell_worker(void *channel, void *env, enum pc_why why) {
    (void)env, (void)why;
    atomic_fetch_add(&((struct world *)channel)->lost, 1);
}
static void tell_owner(void *channel, void *env) {
    (void)env;
    atomic_fetch_add(&((struct world *)channel)->verdict, 1);
}
static void close_descriptor(void *channel, void *env) {
    (void)env;
    atomic_fetch_add(&((struct world *)channel)->closed, 1);
}

static const struct pc_machine_ops machine_ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_descriptor};
static const struct pc_actor actor = {.ops = &machine_ops, .env = NULL};

/* ---- The lane's */

static void keep(void *channel) { (void)channel; }
static void come_out(void *channel, void *env) {
    (void)env;
    pc_machine_leave(&((struct world *)channel)->m, actor, PC_PIPELINED, false);
}
static const struct pc_lane_ops lane_ops = {.keep = keep, .release = keep, .close = come_out};
static const struct pc_lane_actor lane_actor = {.ops = &lane_ops, .env = NULL};

static void end(struct world *w, struct pc_call *calls) {
    for (; calls != NULL; calls = calls->next) {
        atomic_fetch_add(&w->ended, 1);
    }
}

static void meet(struct world *w, unsigned shift) {
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->ready) < 2) {
        sched_yield();
    }
    for (volatile unsigned i = 0; i < shift; i++) {}
}

/* ---- The caller, and then whoever reads the lane: what nif_take_over.c and nif_lane_read.c do */

static void read_answer(struct world *w) {
    bool left, known;
    uint64_t last_id;
    if (!pc_lane_pin(&w->l.lane, lane_actor)) {
        return;
    }
    struct pc_call *call = pc_lane_take(&w->l.lane, ID, PC_MESSAGEPACK, 0, &left, &known);
    if (call != NULL) {
        call->next = NULL;
        end(w, call);
    }
    if (pc_lane_is_drained(&w->l.lane)) {
        atomic_fetch_add(&w->drained, 1);
    }
    if (pc_lane_return(&w->l.lane, lane_actor, &last_id)) {
        pc_machine_leave(&w->m, actor, PC_FREE, false);
    } else {
        pc_lane_unpin(&w->l.lane, lane_actor);
    }
}

static void *caller(void *argument) {
    struct world *w = argument;
    meet(w, w->shift[0]);
    if (pc_machine_enter(&w->m, PC_OUTSTANDING) == 0) {
        return NULL;
    }
    w->taken = pc_lane_take_over(&w->l.lane, ME, &w->call, ID, 0, lane_actor) == PC_SUBMIT_OUT;
    if (!w->taken) {
        pc_machine_leave(&w->m, actor, PC_READING, false);
        return NULL;
    }
    pc_machine_become(&w->m, PC_PIPELINED);
    (void)pc_lane_flush(&w->l.lane, false);
    pc_lane_unpin(&w->l.lane, lane_actor);
    read_answer(w);
    return NULL;
}

/* ---- The worker's process: what nif_verdict, nif_channel_close and nif_drain do */

static void end_lane(struct world *w) {
    uint64_t started = pc_lane_silence(&w->l.lane);
    pc_lane_stop(&w->l.lane);
    end(w, pc_lane_take_after(&w->l.lane, started));
    end(w, pc_lane_take_after(&w->l.lane, 0));
}

static void close_it(struct world *w) {
    pc_machine_close(&w->m, actor);
    (void)pc_lane_close(&w->l.lane, lane_actor);
}

static void *worker(void *argument) {
    struct world *w = argument;
    meet(w, w->shift[1]);
    switch (w->against) {
    case DRAIN:
        if (pc_lane_drain(&w->l.lane) == PC_LANE_IDLE) {
            atomic_fetch_add(&w->drained, 1);
        }
        break;
    case CLOSE_ONLY:
    case END:
        if (w->against == END) {
            end_lane(w); /* the verdict, and later the close: each of them ends the lane first */
            pc_machine_verdict(&w->m, actor);
            sched_yield();
        }
        end_lane(w);
        pc_machine_verdict(&w->m, actor);
        close_it(w);
        break;
    default:
        break;
    }
    return NULL;
}

/* ---- Rounds */

static void prepare(struct world *w, unsigned seed) {
    memset(w, 0, sizeof *w);
    w->me.key = ME;
    w->call.bytes = BYTES;
    w->against = seed % AGAINST;
    w->shift[0] = (unsigned)rand_r(&seed) % MOST_SHIFT;
    w->shift[1] = (unsigned)rand_r(&seed) % MOST_SHIFT;
    assert_true(pc_dispatch_init(&w->d, 1, 1, false));
    assert_null(pc_dispatch_meet(&w->d, &w->me));
    fake_lane_init(&w->l, &w->d, 0);
    w->l.lane.channel = w;
    pc_machine_init(&w->m, w);
    pc_machine_become(&w->m, PC_READING); /* an owner has found what its worker calls */
}

static void check(struct world *w) {
    /* The call has one end: in the lane, or by the verdict to the owner of the claim. */
    assert_int_equal(w->ended + w->verdict, w->taken || w->against != DRAIN);
    assert_int_equal(w->lost, 0);
    if (w->against == DRAIN) {
        assert_true(w->taken);
        assert_int_equal(w->closed, 0);
        assert_int_equal(w->drained + w->freed, 1); /* it is told, or finds the slot free */
    } else {
        assert_int_equal(w->closed, 1);
    }
    assert_int_equal(w->l.lane.users, 0);
    assert_int_equal(w->l.lane.load, 0);
}

static void finish(struct world *w) {
    if (w->against == DRAIN) {
        close_it(w);
        assert_int_equal(w->closed, 1);
    }
    close(w->l.lane.fd);
    close(w->l.peer);
    pc_lane_destroy(&w->l.lane);
    assert_ptr_equal(pc_dispatch_part(&w->d, ME), &w->me);
    pc_dispatch_destroy(&w->d);
}

static void against_the_workers_process(void **state) {
    (void)state;
    static struct world w;
    unsigned taken = 0;
    for (unsigned seed = 0; seed < ROUNDS; seed++) {
        pthread_t threads[2];
        prepare(&w, seed);
        assert_int_equal(pthread_create(&threads[0], NULL, caller, &w), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, worker, &w), 0);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        check(&w);
        taken += w.taken;
        finish(&w);
    }
    assert_true(taken > 0);
    assert_true(taken < ROUNDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_the_workers_process)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
