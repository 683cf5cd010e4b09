#ifndef PC_TEST_FAKE_POOL_H
#define PC_TEST_FAKE_POOL_H

/*
 * A pool without a VM: what is in all its threads' hands. Calls and who makes them, channels with their lanes and machines, the worker's
 * end of each, the table of slots, and the letters to the workers' processes. For test_wire_lane_races.c, after cmocka.h.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "wire/dispatch.h"
#include "wire/machine.h"

enum {
    LANES = 2,
    CALLERS = 3,
    LIVES = 2, /* of each caller, one after the other */
    BATCH = 3, /* calls that one of them makes at once */
    OWNERS = CALLERS * LIVES,
    RECORDS = OWNERS * BATCH,
    LIMIT = 1 << 20,
    LETTERS = 512,
    SECONDS = 20,
};

enum outcome { WAITS, ANSWERED, UNSTARTED, EXITED, POOL_DOWN, REFUSED, LEFT_QUEUE, LEFT };

/* What is known of a call, which may be submitted several times. */
struct record {
    struct owner *owner;
    atomic_int runs;      /* how often a worker has started it */
    atomic_int submitted; /* how often a dispatcher took it, */
    atomic_int ended;     /* and how often that was over */
    /* Under the owner's lock. */
    enum outcome outcome;
    int messages; /* that say how it ended */
    int expected; /* of those */
};

/* A process that makes calls. */
struct owner {
    struct pc_owner known;   /* the first member, so that one is the other */
    pthread_mutex_t running; /* held in NIFs, where no process dies */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool dead;               /* under both */
    struct channel *claimed; /* watched; under `running` */
    struct record records[BATCH];
    unsigned first; /* number of the first of them */
};

/* One submission, as struct pc_job. */
struct job {
    struct pc_call call; /* the first member, so that one is the other */
    unsigned number;
};

/* The other end of a channel. */
struct worker {
    pthread_mutex_t lock;
    int fd;
    bool dead;
    uint64_t started;
    uint64_t cancelled[LETTERS];
    unsigned cancelled_count;
    unsigned seed;
    uint64_t dies_at; /* the id of a call, or 0 */
    bool dismissed;   /* it was told to end, and had nothing to do */
};

struct channel {
    struct world *world;
    unsigned index;
    atomic_int refs;
    int fd;
    int open; /* plain on purpose: ThreadSanitizer sees whoever does I/O while it is being closed */
    struct pc_machine m;
    struct pc_lane lane;
    struct pc_inbox in;
    uint64_t call_id;
    bool leaving; /* the crew's */
    struct worker worker;
    /* What its reader is to do. */
    pthread_mutex_t lock;
    pthread_cond_t drained;
    int wake; /* the reader's */
    bool lent, full, drain, stopped, gone;
};

enum what {
    NOTE_LEFT,
    NOTE_FINISH,
    NOTE_LOST,
    NOTE_EXIT,
    NOTE_UNEVEN,
    NOTE_WANTED,
    NOTE_DRAINED,
    NOTE_RETIRE,
    NOTE_CONDEMN,
    NOTE_END,
    NOTE_QUIT
};
struct letter {
    enum what what;
    struct channel *channel; /* kept; or NULL */
    uint64_t id;
};

struct world {
    unsigned seed;
    unsigned depth;
    bool lends;   /* channels are slots, and lent to their lanes */
    bool limited; /* the queue is */
    struct pc_dispatch d;
    struct owner owners[OWNERS];
    struct owner *_Atomic current[CALLERS];

    /* The table. */
    pthread_mutex_t table_lock;
    bool over;
    struct channel *slots[LANES];
    unsigned stack[LANES];
    unsigned free;
    bool is_free[LANES];

    /* The post, and what its reader, the crew's thread, has attached. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct letter letters[LETTERS];
    unsigned head, tail;
    bool busy;
    struct channel *crew[LANES];

    atomic_int jobs, channels; /* alive */
    atomic_int steps, quits;
    int condemn_at[2], retire_at, end_at, kill_at[2];
    sem_t kill_due;
    atomic_int violated_at;
    atomic_int outcomes[LEFT + 1], lent, claims, killed, lost, moved, retired, wanted;
};

/* What is wrong is told by the main thread, with the line where it was. */
#define expect(w, condition) expect_at(w, condition, __FILE__, __LINE__)
static void expect_at(struct world *w, bool condition, const char *file, int line) {
    int none = 0;
    if (!condition && atomic_compare_exchange_strong(&w->violated_at, &none, line)) {
        fprintf(stderr, "%s:%d: violated in round %u\n", file, line, w->seed);
    }
}

/* The same where nothing can go on. */
#define demand(condition) demand_at(condition, __FILE__, __LINE__)
static void demand_at(bool condition, const char *file, int line) {
    if (!condition) {
        fprintf(stderr, "%s:%d: nothing goes on\n", file, line);
        abort();
    }
}

static struct timespec deadline(int seconds) {
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    return end;
}

/* ---- The post */

static void channel_keep(void *channel) { atomic_fetch_add(&((struct channel *)channel)->refs, 1); }

static void channel_release(void *channel) {
    struct channel *c = channel;
    if (atomic_fetch_sub(&c->refs, 1) == 1) {
        struct world *w = c->world;
        pc_lane_destroy(&c->lane);
        pc_inbox_destroy(&c->in);
        pthread_mutex_destroy(&c->worker.lock);
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->drained);
        free(c);
        atomic_fetch_sub(&w->channels, 1);
    }
}

static void changed(struct world *w) {
    pthread_mutex_lock(&w->lock);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void post(struct world *w, enum what what, struct channel *c, uint64_t id) {
    if (c != NULL) {
        channel_keep(c);
    }
    pthread_mutex_lock(&w->lock);
    demand(w->tail - w->head < LETTERS);
    w->letters[w->tail++ % LETTERS] = (struct letter){.what = what, .channel = c, .id = id};
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* Something was done; after so many such steps something else happens. */
static void step(struct world *w) {
    int now = 1 + atomic_fetch_add(&w->steps, 1);
    if (now == w->end_at) {
        post(w, NOTE_END, NULL, 0);
    }
    if (now == w->retire_at) {
        post(w, NOTE_RETIRE, NULL, (uint64_t)now);
    }
    for (int i = 0; i < 2; i++) {
        if (now == w->condemn_at[i]) {
            post(w, NOTE_CONDEMN, NULL, (uint64_t)(now + i));
        }
        if (now == w->kill_at[i]) {
            sem_post(&w->kill_due);
        }
    }
}

static int64_t now_of(struct world *w) { return atomic_load(&w->steps); }

/* ---- Jobs */

static struct record *record_of(struct world *w, unsigned number) {
    return &w->owners[number / BATCH].records[number % BATCH];
}

/* The memory goes at once, so that whoever still looks at the call is found out. */
static void job_drop(struct world *w, struct job *job) {
    atomic_fetch_add(&record_of(w, job->number)->ended, 1);
    if (job->call.body.owned && job->call.lane == NULL) {
        free(job->call.body.data);
    }
    free(job);
    if (atomic_fetch_sub(&w->jobs, 1) == 1) {
        changed(w);
    }
}

static void job_end(struct world *w, struct job *job, enum outcome outcome) {
    struct record *record = record_of(w, job->number);
    struct owner *o = record->owner;
    pthread_mutex_lock(&o->lock);
    expect(w, record->outcome == WAITS);
    record->outcome = outcome;
    record->messages++;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    job_drop(w, job);
}

/* Calls that were in a lane or the queue. */
static void end_calls(struct world *w, struct pc_call *calls, enum outcome outcome) {
    struct pc_call *next;
    for (struct pc_call *call = calls; call != NULL; call = next) {
        next = call->next;
        if (call->state == PC_CALL_LEFT) {
            job_drop(w, (struct job *)call);
        } else {
            job_end(w, (struct job *)call, outcome);
        }
    }
}

#endif
