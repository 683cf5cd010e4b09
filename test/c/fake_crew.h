#ifndef PC_TEST_FAKE_CREW_H
#define PC_TEST_FAKE_CREW_H

/* The threads of test_wire_lane_races.c, and what those of the pool do: readers, and the crew, which is the workers' processes in one. */

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "fake_caller.h"
#include "fake_worker.h"

enum { DEPTH = 4, MOVED = 8 };

/* A thread, which plays when it is told to. */
struct part {
    void (*play)(struct part *p);
    void *argument; /* NULL: the end */
    unsigned index;
    sem_t go, done;
    int wake; /* of a reader */
    pthread_t thread;
};

struct stage {
    struct part callers[CALLERS], readers[LANES], workers[LANES], killer, crew;
};
static struct stage stage;

static void part_go(struct part *p, void *argument) {
    p->argument = argument;
    sem_post(&p->go);
}

static void part_wait(struct part *p) {
    const struct timespec end =
        deadline(2 * SECONDS); /* so that whoever waits for something in particular says so first */
    int failed;
    while ((failed = sem_timedwait(&p->done, &end)) != 0 && errno == EINTR) {}
    demand(failed == 0);
}

/* ---- Readers, as in src/pitcrew_reader.erl */

static void drain(struct channel *c, enum turn *turn) {
    do {
        *turn = deliver(c);
    } while (*turn == TURN_MORE);
    pthread_mutex_lock(&c->lock);
    c->drain = false;
    pthread_cond_broadcast(&c->drained);
    pthread_mutex_unlock(&c->lock);
}

/* Until there is something to read, or to do. */
static void await_event(struct channel *c, bool full, enum turn *turn) {
    struct pollfd p[] = {{.fd = c->wake, .events = POLLIN},
                         {.fd = c->fd, .events = (short)(full ? POLLIN | POLLOUT : POLLIN)}};
    uint64_t count;
    (void)poll(p, *turn == TURN_AGAIN ? 2 : 1, -1);
    if ((p[0].revents & POLLIN) != 0) {
        (void)!read(c->wake, &count, sizeof count);
    }
    if ((p[1].revents & POLLOUT) != 0) {
        pthread_mutex_lock(&c->lock);
        c->full = false;
        pthread_mutex_unlock(&c->lock);
        if (pc_lane_pin(&c->lane, on_lane)) {
            flush_lane(c, true);
            *turn = TURN_MORE;
        }
    }
    if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        *turn = TURN_MORE;
    }
}

static void play_reader(struct part *p) {
    struct channel *c = p->argument;
    enum turn turn = TURN_IDLE;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        bool stopped = c->stopped, drains = c->drain, full = c->full;
        if (c->lent && turn == TURN_IDLE) {
            c->lent = false;
            turn = TURN_MORE;
        }
        pthread_mutex_unlock(&c->lock);
        if (stopped) {
            break;
        }
        if (drains) {
            drain(c, &turn);
        } else if (turn == TURN_MORE) {
            turn = deliver(c);
        } else {
            await_event(c, full, &turn);
        }
    }
    close(c->fd);
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    pthread_cond_broadcast(&c->drained);
    pthread_mutex_unlock(&c->lock);
    channel_release(c);
}

static void play_worker_part(struct part *p) {
    play_worker(p->argument);
    channel_release(p->argument);
}

/* ---- The crew: what src/pitcrew_worker.erl does, for all workers */

static struct channel *channel_make(struct world *w, unsigned index) {
    int fd[2];
    const int small = 4096;
    struct channel *c = calloc(1, sizeof *c);
    demand(c != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
    demand(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
    demand(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    demand(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    unsigned seed = w->seed * 31 + (unsigned)atomic_load(&w->steps) + index;
    *c = (struct channel){.world = w, .index = index, .refs = 2, .fd = fd[0], .open = 1}; /* the crew, and the lane */
    c->worker.fd = fd[1];
    c->worker.seed = (unsigned)rand_r(&seed);
    c->worker.dies_at = rand_r(&seed) % 3 == 0 ? 1 + (uint64_t)rand_r(&seed) % 6 : 0;
    c->wake = stage.readers[index].wake;
    pthread_mutex_init(&c->worker.lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->drained, NULL);
    pc_machine_init(&c->m, c);
    pc_inbox_init(&c->in);
    pc_lane_init(&c->lane, &w->d, c, c->fd, index, LIMIT);
    atomic_fetch_add(&w->channels, 1);
    return c;
}

static bool open_for_good(struct world *w, struct channel *c) {
    demand(pc_machine_enter(&c->m, PC_CONTROL) != 0);
    if (!pc_lane_open(&c->lane, 0, false, now_of(w), on_lane)) {
        pc_machine_leave(&c->m, on_machine, PC_CONTROL, false);
        return false;
    }
    pc_machine_become(&c->m, PC_PIPELINED);
    pthread_mutex_lock(&c->lock);
    c->lent = true;
    pthread_mutex_unlock(&c->lock);
    wake(c);
    flush_lane(c, false);
    return true;
}

/* Off the stage, with its reader and its worker. */
static void dismiss(struct world *w, unsigned index) {
    struct channel *c = w->crew[index];
    channel_close(c);
    slots_remove(w, index);
    worker_kill(&c->worker);
    part_wait(&stage.readers[index]);
    part_wait(&stage.workers[index]);
    w->crew[index] = NULL;
    channel_release(c);
}

static void attach(struct world *w, unsigned index) {
    struct channel *c = channel_make(w, index);
    w->crew[index] = c;
    channel_keep(c);
    part_go(&stage.readers[index], c);
    channel_keep(c);
    part_go(&stage.workers[index], c);
    if (!(w->lends ? slots_install(w, c) : open_for_good(w, c))) {
        dismiss(w, index); /* the pool has ended */
    }
}

static void await_drained(struct channel *c) {
    const struct timespec late = deadline(SECONDS);
    int failed = 0;
    pthread_mutex_lock(&c->lock);
    c->drain = true;
    wake(c);
    while (c->drain && !c->gone && failed == 0) {
        failed = pthread_cond_timedwait(&c->drained, &c->lock, &late);
    }
    pthread_mutex_unlock(&c->lock);
    demand(failed == 0);
}

/* Much may happen meanwhile. */
static void pause_for(unsigned turns) {
    for (; turns > 0; turns--) {
        sched_yield();
    }
}

/* The worker is dead: its last words, the verdict, and somebody else in its place. */
static void replace(struct world *w, struct channel *c) {
    await_drained(c);
    end_lane(c);
    pause_for(w->seed % 5);
    pc_machine_verdict(&c->m, on_machine);
    pause_for(w->seed % 3);
    dismiss(w, c->index);
    attach(w, c->index);
}

/* Sends `shutdown` to a worker that has nothing to do, wherever its channel is. */
static void depart(struct channel *c) {
    static const uint8_t frame[] = {0, 0, 0, 3, 0x92, PC_KIND_SHUTDOWN, 0};
    if (pc_lane_pin(&c->lane, on_lane)) {
        (void)pc_lane_append(&c->lane, frame, sizeof frame, true);
        flush_lane(c, false);
    } else if (pc_machine_enter(&c->m, PC_FREE) != 0) {
        use(c);
        (void)!send(c->fd, frame, sizeof frame, MSG_NOSIGNAL | MSG_DONTWAIT);
        pc_machine_leave(&c->m, on_machine, PC_CONTROL, false);
    }
}

/* As nif_drain: its process takes it off the table, and then lets it go when nobody has it. */
static void retire(struct world *w, struct channel *c) {
    c->leaving = true;
    slots_remove(w, c->index);
    enum pc_lane_state state = pc_lane_drain(&c->lane);
    bool is_free = (pc_machine_word(&c->m) & (PC_PHASES | PC_INSIDE)) == PC_FREE;
    if (state == PC_LANE_IDLE || (state == PC_LANE_AWAY && is_free)) {
        depart(c);
    }
}

static void cancel(struct world *w, struct channel *c, uint64_t id) {
    if (c != NULL && worker_cancel(&c->worker, id)) {
        lane_drop(c, id);
        atomic_fetch_add(&w->moved, 1);
    }
}

static void balance(struct world *w) {
    struct pc_misplaced list[MOVED];
    size_t n;
    bool uneven = pc_dispatch_uneven(&w->d, now_of(w) - 10, list, MOVED, &n);
    for (size_t i = 0; i < n; i++) {
        cancel(w, w->crew[list[i].index], list[i].id);
    }
    if (uneven) {
        sched_yield();
        post(w, NOTE_UNEVEN, NULL, 0);
    }
}

/* The pool's process is gone. */
static void end_pool(struct world *w) {
    end_calls(w, pc_dispatch_end(&w->d), POOL_DOWN);
    pthread_mutex_lock(&w->table_lock);
    w->over = true;
    pthread_mutex_unlock(&w->table_lock);
    for (unsigned i = 0; i < LANES; i++) {
        slots_remove(w, i);
    }
}

static void attend_to(struct world *w, const struct letter *l) {
    struct channel *c = l->channel;
    bool current = c != NULL && w->crew[c->index] == c;
    struct channel *any = w->crew[l->id % LANES];
    switch (l->what) {
    case NOTE_LEFT:
        if (current && w->lends) {
            channel_close(c);
        } else if (current) {
            cancel(w, c, l->id);
        }
        break;
    case NOTE_EXIT:
        if (current) {
            replace(w, c);
        }
        break;
    case NOTE_LOST:
        atomic_fetch_add(&w->lost, 1);
        break;
    case NOTE_UNEVEN:
        balance(w);
        break;
    case NOTE_WANTED:
        atomic_fetch_add(&w->wanted, 1);
        pc_dispatch_watch(&w->d);
        break;
    case NOTE_RETIRE:
        if (any != NULL && !any->leaving) {
            retire(w, any);
            atomic_fetch_add(&w->retired, 1);
        }
        break;
    case NOTE_DRAINED:
        if (current && c->leaving) {
            depart(c);
        }
        break;
    case NOTE_CONDEMN:
        if (any != NULL && w->lends && l->id % 3 != 0) {
            channel_close(any);
        } else if (any != NULL) {
            worker_kill(&any->worker);
        }
        break;
    case NOTE_END:
        end_pool(w);
        break;
    default:
        break;
    }
    if (c != NULL) {
        channel_release(c);
    }
}

static struct letter next_letter(struct world *w) {
    pthread_mutex_lock(&w->lock);
    w->busy = false;
    pthread_cond_broadcast(&w->changed);
    while (w->head == w->tail) {
        pthread_cond_wait(&w->changed, &w->lock);
    }
    struct letter l = w->letters[w->head++ % LETTERS];
    w->busy = true;
    pthread_mutex_unlock(&w->lock);
    return l;
}

static void play_crew(struct part *p) {
    struct world *w = p->argument;
    struct letter l;
    for (unsigned i = 0; i < LANES; i++) {
        attach(w, i);
    }
    while ((l = next_letter(w)).what != NOTE_QUIT) {
        attend_to(w, &l);
    }
    for (unsigned i = 0; i < LANES; i++) {
        if (w->crew[i] != NULL) {
            dismiss(w, i);
        }
    }
    for (; w->head != w->tail; w->head++) {
        attend_to(w, &w->letters[w->head % LETTERS]);
    }
}

#endif
