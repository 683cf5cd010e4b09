/*
 * Races at the channel's machine: an owner that calls, abandons or dies, against a worker's process that passes its
 * verdict and closes; and an owner that dies on a dirty scheduler, against a worker's process that adopts its call,
 * against the verdict and the close. In threads, over and over with the steps shifted against each other. Run it under
 * ThreadSanitizer too: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "wire/machine.h"

enum { ROUNDS = 200000 };

enum fate { ENDS, DIES }; /* how the owner goes */

struct world {
    struct pc_machine m;
    atomic_int handed_on, cut, lost, adopt, told, closed, inside, violations;
    int descriptor; /* plain on purpose: ThreadSanitizer sees whoever touches it while it is being closed */
    enum fate fate;
    int steps; /* how far the owner gets before it goes */
    bool lose; /* its last read finds the end of file */
    enum pc_end end;
    bool adopted;     /* whether the adoption succeeded */
    atomic_int dying; /* the owner may be killed from now on */
    atomic_int out;   /* its last stay is over */
    unsigned seed;    /* of the owner's pauses */
};

/* Both sides start a round together by spinning: a futex would let one of them sleep through it. */
struct arena {
    struct world *_Atomic world;
    atomic_int started, finished;
};

static void expect(struct world *w, bool condition) {
    if (!condition) {
        atomic_fetch_add(&w->violations, 1);
    }
}

static void hand_on(void *w, void *env) { (void)env, atomic_fetch_add(&((struct world *)w)->handed_on, 1); }
static void tell_owner(void *channel, void *env) {
    (void)env;
    struct world *w = channel;
    atomic_fetch_add(&w->told, 1);
    expect(w, w->descriptor == 3); /* to take a select back */
}
static void tell_worker(void *channel, void *env, enum pc_why why) {
    (void)env;
    struct world *w = channel;
    atomic_fetch_add(why == PC_CUT ? &w->cut : why == PC_LOST ? &w->lost : &w->adopt, 1);
}
static void close_it(void *channel, void *env) {
    (void)env;
    struct world *w = channel;
    atomic_fetch_add(&w->closed, 1);
    w->descriptor = -1;
}
static void withdraw(void *channel, void *env, bool open) {
    (void)env;
    struct world *w = channel;
    if (open) {
        expect(w, w->descriptor == 3);
    }
}

static const struct pc_machine_ops ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_it};
static const struct pc_actor at = {.ops = &ops, .env = NULL};

/* Alone, with a descriptor that is open. */
static void use(struct world *w) {
    expect(w, atomic_fetch_add(&w->inside, 1) == 0);
    expect(w, w->descriptor == 3);
    atomic_fetch_sub(&w->inside, 1);
}

/* One stay inside: uses the descriptor and leaves in `phase`. */
static bool stay(struct world *w, uint32_t from, uint32_t phase, bool lost) {
    if (pc_machine_enter(&w->m, from) == 0) {
        return false;
    }
    use(w);
    pc_machine_leave(&w->m, at, phase, lost);
    return true;
}

static void pause_for(int turns) {
    for (volatile int i = 0; i < turns; i++) {}
}

static void wait_for(atomic_int *value, int wanted) {
    for (int spins = 0; atomic_load(value) != wanted; spins++) {
        if (spins % 1024 == 1023) {
            sched_yield();
        }
    }
}

static void owner(struct world *w) {
    static const struct {
        uint32_t from;
        enum pc_phase to;
    } script[] = {{PC_CLAIMED, PC_WRITING},
                  {PC_OUTSTANDING, PC_WAITING},
                  {PC_OUTSTANDING, PC_READING},
                  {PC_OUTSTANDING, PC_CLAIMED}};
    bool going = true;
    for (int i = 0; i < w->steps && going; i++) {
        pause_for((int)(rand_r(&w->seed) % 100));
        going = stay(w, script[i].from, script[i].to, false);
    }
    if (w->lose && going) {
        (void)stay(w, PC_OUTSTANDING, PC_READING, true);
    }
    if (w->fate == DIES) {
        pc_machine_owner_gone(&w->m, at);
    } else {
        w->end = pc_machine_end(&w->m, at, withdraw);
    }
}

static void *worker(void *argument) {
    struct arena *arena = argument;
    unsigned seed = 1;
    for (int round = 1; round <= ROUNDS; round++) {
        wait_for(&arena->started, round);
        struct world *w = atomic_load(&arena->world);
        pause_for((int)(rand_r(&seed) % 1000));
        pc_machine_verdict(&w->m, at);
        pause_for((int)(rand_r(&seed) % 100));
        pc_machine_close(&w->m, at);
        atomic_store(&arena->finished, round);
    }
    return NULL;
}

static void check(struct world *w) {
    assert_int_equal(w->violations, 0);
    assert_int_equal(w->closed, 1);
    assert_true(w->told <= 1 && w->handed_on <= 1 && w->cut <= 1 && w->lost <= 1);
    if (w->fate == ENDS) {
        assert_int_equal(w->told, w->end == PC_END_VERDICT);
        assert_int_equal(w->handed_on, w->end == PC_END_OK);
    }
    assert_int_equal(w->m.word & PC_INSIDE, 0);
    assert_true((w->m.word & PC_CLOSED) != 0);
}

static void owner_against_worker(void **state) {
    (void)state;
    int ends[3] = {0};
    int told = 0;
    struct arena arena = {NULL, 0, 0};
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, worker, &arena), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        struct world w = {.descriptor = 3,
                          .fate = round % 3 == 0 ? DIES : ENDS,
                          .steps = round % 5,
                          .lose = round % 7 == 0,
                          .seed = (unsigned)round};
        pc_machine_init(&w.m, &w);
        atomic_store(&w.m.word, PC_CLAIMED);
        atomic_store(&arena.world, &w);
        atomic_store(&arena.started, round);
        owner(&w);
        wait_for(&arena.finished, round);
        check(&w);
        ends[w.end] += w.fate == ENDS;
        told += w.told;
    }
    pthread_join(other, NULL);
    print_message("ends: %d free, %d poisoned, %d by verdict; %d told\n", ends[PC_END_OK], ends[PC_END_POISONED],
                  ends[PC_END_VERDICT], told);
}

/* ---- Adoption */

/*
 * The owner's thread. It calls, and goes on on a dirty scheduler, where it is not stopped when it is killed: either
 * what is left there is the end of the frame, or the answer, whole or not.
 */
static void doomed_owner(struct world *w) {
    static const uint32_t last[] = {PC_WRITING | PC_FINISH, PC_WAITING | PC_FINISH, PC_READING | PC_FINISH, PC_CLAIMED};
    if (w->steps < 4) { /* dies before there is anything to move: with a call that waits, or a claim */
        (void)stay(w, PC_CLAIMED, last[w->steps], w->lose && w->steps < 3);
        atomic_store(&w->dying, 1);
    } else {
        (void)stay(w, PC_CLAIMED, PC_WRITING, false);
        atomic_store(&w->dying, 1);
        pause_for((int)(rand_r(&w->seed) % 100));
        (void)stay(w, PC_OUTSTANDING, last[w->steps - 4], w->lose && w->steps < 7);
    }
    atomic_store(&w->out, 1);
}

/* The worker's process: reads the answer and gives the slot back, or gives up. */
static void adopt(struct world *w, unsigned *seed) {
    uint32_t phase = pc_machine_adopt(&w->m);
    w->adopted = phase != 0;
    if (!w->adopted) {
        return;
    }
    use(w);
    pc_machine_leave(&w->m, at, phase, false);
    pause_for((int)(rand_r(seed) % 100));
    if (rand_r(seed) % 4 != 0) {
        (void)stay(w, PC_OUTSTANDING, PC_CLAIMED, false);
    }
    w->end = pc_machine_end(&w->m, at, withdraw);
}

static void *killer(void *argument) {
    struct arena *arena = argument;
    unsigned seed = 2;
    for (int round = 1; round <= ROUNDS; round++) {
        wait_for(&arena->started, round);
        struct world *w = atomic_load(&arena->world);
        wait_for(&w->dying, 1);
        pause_for((int)(rand_r(&seed) % 150));
        pc_machine_owner_gone(&w->m, at);
        /* The news comes from whoever was inside last, so at the latest when that is out. */
        while (atomic_load(&w->adopt) == 0 && atomic_load(&w->out) == 0) {}
        if (atomic_load(&w->adopt) != 0) {
            adopt(w, &seed);
        }
        atomic_store(&arena->finished, round);
    }
    return NULL;
}

/* The end, from outside: the worker's process is dead, too, and the VM says so from another thread. */
static void judge(struct world *w) {
    pause_for((int)(rand_r(&w->seed) % 300));
    pc_machine_verdict(&w->m, at);
    pause_for((int)(rand_r(&w->seed) % 100));
    pc_machine_close(&w->m, at);
}

static void check_adoption(struct world *w) {
    assert_int_equal(w->violations, 0);
    assert_int_equal(w->closed, 1);
    assert_true(w->told <= 1 && w->handed_on <= 1 && w->adopt <= 1);
    assert_true(w->adopted <= w->adopt);
    /* A call goes one way: cut for the dead, or on, to be cut at most once by its adopter. */
    assert_true(w->cut <= 1);
    assert_true(w->adopted || w->adopt == 0 || (w->m.word & (PC_VERDICT | PC_CLOSED)) != 0);
    if (w->adopted) {
        assert_int_equal(w->told, w->end == PC_END_VERDICT);
        assert_int_equal(w->handed_on, w->end == PC_END_OK);
    } else {
        assert_true(w->handed_on + w->cut + w->adopt <= 1);
    }
    assert_int_equal(w->m.word & PC_INSIDE, 0);
    assert_true((w->m.word & PC_CLOSED) != 0);
}

static void adoption_against_the_end(void **state) {
    (void)state;
    int ends[3] = {0};
    int cut = 0, too_late = 0;
    struct arena arena = {NULL, 0, 0};
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, killer, &arena), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        struct world w = {.descriptor = 3, .steps = round % 8, .lose = round % 7 == 0, .seed = (unsigned)round};
        pc_machine_init(&w.m, &w);
        atomic_store(&w.m.word, PC_CLAIMED);
        atomic_store(&arena.world, &w);
        atomic_store(&arena.started, round);
        doomed_owner(&w);
        if (round % 4 == 0) { /* sometimes nothing comes in between */
            wait_for(&arena.finished, round);
        }
        judge(&w);
        wait_for(&arena.finished, round);
        check_adoption(&w);
        ends[w.end] += w.adopted;
        cut += w.cut != 0 && !w.adopted;
        too_late += w.adopt != 0 && !w.adopted;
    }
    pthread_join(other, NULL);
    print_message("adopted: %d free, %d poisoned, %d by verdict; %d too late; %d cut\n", ends[PC_END_OK],
                  ends[PC_END_POISONED], ends[PC_END_VERDICT], too_late, cut);
    assert_true(ends[PC_END_OK] > 0 && cut > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(owner_against_worker),
                                       cmocka_unit_test(adoption_against_the_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
