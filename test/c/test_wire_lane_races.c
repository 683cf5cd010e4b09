/*
 * Dispatcher and lanes raced without a VM: callers that claim slots, submit, leave and die with calls in every state; whoever kills them;
 * a reader and a worker for each lane, over small sockets; and the crew, which replaces workers that died or were condemned, cancels what
 * nobody waits for and moves what waits behind others. Over and over, with their steps shifted against each other: each call ends once, with its
 * own answer or for a reason that there is, none is run twice, and when all is quiet every slot and lane is there and free. Run
 * it under ThreadSanitizer too: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_crew.h"

#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
enum { ROUNDS = 10000 };
#else
enum { ROUNDS = 2000 }; /* which take a second or two */
#endif

/* ---- Callers, and whoever kills them */

static void play_caller(struct part *p) {
    struct world *w = p->argument;
    unsigned seed = w->seed * CALLERS + p->index;
    for (unsigned i = 0; i < LIVES; i++) {
        struct owner *o = &w->owners[p->index * LIVES + i];
        atomic_store(&w->current[p->index], o);
        live(w, o, &seed);
        (void)die(w, o);
    }
}

static void play_killer(struct part *p) {
    struct world *w = p->argument;
    for (unsigned i = 0; i < 2; i++) {
        sem_wait(&w->kill_due);
        struct owner *o = atomic_load(&w->current[(w->seed + i) % CALLERS]);
        if (atomic_load(&w->quits) == 0 && o != NULL && die(w, o)) {
            atomic_fetch_add(&w->killed, 1);
        }
    }
}

/* ---- Rounds */

static void prepare(struct world *w, unsigned seed) {
    *w = (struct world){.seed = seed, .lends = seed % 2 == 0, .end_at = -1};
    w->depth = w->lends ? 1 : DEPTH;
    assert_true(pc_dispatch_init(&w->d, w->depth, 1 + seed / 4 % w->depth, seed % 4 < 2));
    pthread_mutex_init(&w->table_lock, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    assert_int_equal(sem_init(&w->kill_due, 0, 0), 0);
    w->busy = true; /* nobody is there yet */
    for (unsigned i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        o->known.key = 1000 + i;
        o->first = i * BATCH;
        pthread_mutex_init(&o->running, NULL);
        pthread_mutex_init(&o->lock, NULL);
        pthread_cond_init(&o->changed, NULL);
        for (unsigned j = 0; j < BATCH; j++) {
            o->records[j].owner = o;
        }
    }
    for (int i = 0; i < 2; i++) {
        w->condemn_at[i] = rand_r(&seed) % 2 == 0 ? 1 + (int)(rand_r(&seed) % 150) : -1;
        w->kill_at[i] = rand_r(&seed) % 2 == 0 ? 1 + (int)(rand_r(&seed) % 100) : -1;
    }
    w->retire_at = rand_r(&seed) % 2 == 0 ? 1 + (int)(rand_r(&seed) % 100) : -1;
    w->limited = rand_r(&seed) % 8 == 0;
    if (w->limited) {
        pc_dispatch_limit(&w->d, 2);
    }
    pc_dispatch_watch(&w->d);
    if (rand_r(&seed) % 8 == 0) {
        w->end_at = 1 + (int)(rand_r(&seed) % 100);
    }
}

/* Whether every slot is free, or every lane has nothing to do. */
static bool is_whole(struct world *w) {
    struct pc_dispatch_counts n;
    pthread_mutex_lock(&w->table_lock);
    unsigned free_slots = w->free;
    bool over = w->over;
    pthread_mutex_unlock(&w->table_lock);
    pc_dispatch_count(&w->d, &n);
    expect(w, n.out == 0 && n.queued == 0 && n.lanes == n.idle);
    return over || (w->lends ? free_slots == LANES : n.idle == LANES);
}

/* All calls have ended, and what is missing comes back by itself. */
static void settle(struct world *w) {
    const struct timespec late = deadline(SECONDS);
    int failed = 0;
    pthread_mutex_lock(&w->lock);
    while (failed == 0 && !(atomic_load(&w->jobs) == 0 && w->head == w->tail && !w->busy && is_whole(w))) {
        failed = pthread_cond_timedwait(&w->changed, &w->lock, &late);
    }
    pthread_mutex_unlock(&w->lock);
    if (failed != 0) {
        struct pc_dispatch_counts n;
        pc_dispatch_count(&w->d, &n);
        fprintf(
            stderr,
            "round %u: %d calls, %zu of them out and %zu queued; %u of %u lanes and %u slots are free; %u letters\n",
            w->seed, w->jobs, n.out, n.queued, n.idle, n.lanes, w->free, w->tail - w->head);
    }
    demand(failed == 0);
}

static void check_record(struct world *w, struct record *r) {
    int runs = atomic_load(&r->runs);
    assert_int_equal(r->submitted, r->ended);
    /* Its caller died while it was out: no message. */
    bool left_behind = r->outcome == WAITS && r->submitted > 0;
    assert_int_equal(r->messages, r->expected - left_behind);
    assert_true(runs <= 1);
    if (r->outcome == ANSWERED || (r->outcome == EXITED && !w->lends)) {
        assert_int_equal(runs, 1);
    }
    if (r->outcome == UNSTARTED || r->outcome == POOL_DOWN || r->outcome == REFUSED || r->outcome == LEFT_QUEUE) {
        assert_int_equal(runs, 0);
    }
    w->outcomes[r->outcome]++;
}

static void check(struct world *w) {
    struct pc_dispatch_counts n;
    assert_int_equal(w->violated_at, 0);
    assert_int_equal(w->jobs, 0);
    assert_int_equal(w->channels, 0);
    pc_dispatch_count(&w->d, &n);
    assert_true(n.lanes == 0 && n.idle == 0 && n.out == 0 && n.queued == 0);
    assert_null(pc_dispatch_part_any(&w->d));
    for (unsigned i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        for (unsigned j = 0; j < BATCH; j++) {
            check_record(w, &o->records[j]);
        }
        pthread_mutex_destroy(&o->running);
        pthread_mutex_destroy(&o->lock);
        pthread_cond_destroy(&o->changed);
    }
    pc_dispatch_destroy(&w->d);
    pthread_mutex_destroy(&w->table_lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    sem_destroy(&w->kill_due);
}

static void play_round(struct world *w) {
    part_go(&stage.crew, w);
    part_go(&stage.killer, w);
    for (unsigned i = 0; i < CALLERS; i++) {
        part_go(&stage.callers[i], w);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        part_wait(&stage.callers[i]);
    }
    atomic_store(&w->quits, 1);
    sem_post(&w->kill_due);
    sem_post(&w->kill_due);
    part_wait(&stage.killer);
    settle(w);
    post(w, NOTE_QUIT, NULL, 0);
    part_wait(&stage.crew);
}

static void *run_part(void *argument) {
    struct part *p = argument;
    for (;;) {
        sem_wait(&p->go);
        if (p->argument == NULL) {
            return NULL;
        }
        p->play(p);
        sem_post(&p->done);
    }
}

/* All the parts of the stage, one after the other; NULL after the last. */
static struct part *part_at(unsigned i) {
    return i < sizeof stage / sizeof(struct part) ? (struct part *)&stage + i : NULL;
}

static void set_the_stage(void) {
    stage.crew.play = play_crew;
    stage.killer.play = play_killer;
    for (unsigned i = 0; i < CALLERS; i++) {
        stage.callers[i] = (struct part){.play = play_caller, .index = i};
    }
    for (unsigned i = 0; i < LANES; i++) {
        stage.readers[i] = (struct part){.play = play_reader, .index = i, .wake = eventfd(0, EFD_NONBLOCK)};
        stage.workers[i] = (struct part){.play = play_worker_part, .index = i};
    }
    struct part *p;
    for (unsigned i = 0; (p = part_at(i)) != NULL; i++) {
        assert_int_equal(sem_init(&p->go, 0, 0), 0);
        assert_int_equal(sem_init(&p->done, 0, 0), 0);
        assert_int_equal(pthread_create(&p->thread, NULL, run_part, p), 0);
    }
}

static void clear_the_stage(void) {
    struct part *p;
    for (unsigned i = 0; (p = part_at(i)) != NULL; i++) {
        part_go(p, NULL);
        pthread_join(p->thread, NULL);
        sem_destroy(&p->go);
        sem_destroy(&p->done);
    }
    for (unsigned i = 0; i < LANES; i++) {
        close(stage.readers[i].wake);
    }
}

static void everybody_at_once(void **state) {
    (void)state;
    static struct world w;
    int sums[LEFT + 1] = {0};
    int lent = 0, claims = 0, killed = 0, lost = 0, moved = 0, retired = 0, wanted = 0;
    set_the_stage();
    for (unsigned round = 1; round <= ROUNDS; round++) {
        prepare(&w, round);
        play_round(&w);
        check(&w);
        for (int i = 0; i <= LEFT; i++) {
            sums[i] += w.outcomes[i];
        }
        lent += w.lent, claims += w.claims, killed += w.killed, lost += w.lost, moved += w.moved;
        retired += w.retired, wanted += w.wanted;
    }
    clear_the_stage();
    print_message("%d answered, %d unstarted, %d ended by exit, %d by the pool's end, %d refused, %d left in the "
                  "queue, %d left\n",
                  sums[ANSWERED], sums[UNSTARTED], sums[EXITED], sums[POOL_DOWN], sums[REFUSED], sums[LEFT_QUEUE],
                  sums[LEFT]);
    print_message(
        "%d lent, %d claimed, %d callers killed, %d channels lost, %d calls moved, %d workers retired, %d wanted\n",
        lent, claims, killed, lost, moved, retired, wanted);
    for (int i = ANSWERED; i <= LEFT; i++) {
        assert_true(i == UNSTARTED || sums[i] > 0);
    }
    assert_true(lent > 0 && claims > 0 && killed > 0 && lost > 0 && moved > 0 && retired > 0 && wanted > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everybody_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
