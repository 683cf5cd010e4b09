/*
 * One word says which call runs, and each side writes before it reads: the loop writes `running` and then looks whether there is
 * anything to attend to; the side thread takes the lock, asks for attention, and then reads `running`. So, all four being
 * sequentially consistent, at least one sees the other, and the loop, if it does, waits for the lock and obeys the table. Every signal
 * is sent with the lock held while its call runs, and the loop does not leave a call past that.
 *
 * Where many calls run they stand in a table, which is the lock's; `running` is then the one, if any, whose code the loop's thread
 * is in.
 */

#include "turn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { FIRST_MS = 1, LONGEST_MS = 128 };

static atomic_uint_fast64_t running;   /* the call that runs, 0 for none; the loop writes it */
static atomic_uint_fast64_t last;      /* the latest that has begun; the loop writes it */
static atomic_uint_fast64_t interrupt; /* the call to interrupt, 0 for none */
static atomic_bool attention;          /* whether the loop must take the lock; written with it */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t waiting[PC_TURN_MOST_WAITING]; /* cancelled before their turn; in no order */
static size_t waiting_count;

static bool many;
static struct {
    uint64_t id;
    bool wanted;   /* it is to be interrupted, and the attendant has not come yet */
    bool signaled; /* the signal sees to that: nothing is left to do for the attendant but to come */
} begun[PC_TURN_MOST];
static size_t begun_count;
static void (*wake_attendant)(void);

static struct {
    uint64_t id;
    bool wanted; /* it is to be interrupted when it goes on, and what is on top of it at once */
} outer[PC_TURN_MOST_OUTER];
static atomic_size_t outer_count; /* written with the lock */

static bool can_signal;
static pthread_t loop;
static int patience_ms; /* the side thread's; 0: nothing was asked for */

void pc_turn_open(bool signals) {
    atomic_store(&running, 0);
    atomic_store(&last, 0);
    atomic_store(&interrupt, 0);
    atomic_store(&attention, false);
    waiting_count = 0;
    begun_count = 0;
    atomic_store(&outer_count, 0);
    patience_ms = 0;
    can_signal = signals;
    many = false;
    loop = pthread_self();
}

void pc_turn_open_many(bool signals, void (*wake)(void)) {
    pc_turn_open(signals);
    many = true;
    wake_attendant = wake;
}

static void enter(void) {
    (void)pthread_mutex_lock(&lock);
    atomic_store(&attention, true);
}

static void leave(void) {
    atomic_store(&attention, waiting_count > 0 || atomic_load(&outer_count) > 0);
    (void)pthread_mutex_unlock(&lock);
}

static bool waits(uint64_t id) {
    size_t i = 0;
    while (i < waiting_count && waiting[i] != id) {
        i++;
    }
    return i < waiting_count;
}

/* Whether the call was cancelled. Ids grow, so what waits for its turn below this one will not come. */
static bool take_waiting(uint64_t id) {
    bool found = false;
    size_t kept = 0;
    for (size_t i = 0; i < waiting_count; i++) {
        found = found || waiting[i] == id;
        if (waiting[i] > id) {
            waiting[kept++] = waiting[i];
        }
    }
    waiting_count = kept;
    return found;
}

static bool is_outer_wanted(void) {
    bool wanted = false;
    for (size_t i = 0; i < outer_count; i++) {
        wanted = wanted || outer[i].wanted;
    }
    return wanted;
}

/* PC_TURN_MOST_OUTER if it is not there. */
static size_t find_outer(uint64_t id) {
    size_t i = 0;
    while (i < outer_count && outer[i].id != id) {
        i++;
    }
    return i < outer_count ? i : PC_TURN_MOST_OUTER;
}

static void send_signal(void) {
    if (can_signal) {
        (void)pthread_kill(loop, PC_TURN_SIGNAL);
    }
}

/* From the serve loop's thread, which has the signal when this returns: nobody need repeat it. */
static void interrupt_here(uint64_t id) {
    atomic_store(&interrupt, id);
    send_signal();
}

/* ---- The serve loop */

bool pc_turn_begin(uint64_t id) {
    bool cancelled = false;
    atomic_store(&running, id);
    if (atomic_load(&attention)) {
        enter();
        cancelled = take_waiting(id);
        if (cancelled) {
            atomic_store(&running, 0);
        } else if (is_outer_wanted()) {
            interrupt_here(id);
        }
        atomic_store(&last, id);
        leave();
    } else {
        atomic_store_explicit(&last, id, memory_order_relaxed); /* seen by whoever sees what `running` is next */
    }
    return !cancelled;
}

void pc_turn_end(void) {
    atomic_store(&running, 0);
    if (atomic_load(&attention)) {
        enter();
        leave();
    }
}

void pc_turn_suspend(void) {
    enter();
    uint64_t id = atomic_load(&running);
    outer[outer_count].id = id;
    outer[outer_count].wanted = id != 0 && atomic_load(&interrupt) == id;
    if (outer[outer_count].wanted) { /* what comes next does not take it */
        atomic_store(&interrupt, 0);
    }
    atomic_fetch_add(&outer_count, 1);
    atomic_store(&running, 0);
    leave();
}

void pc_turn_resume(void) {
    enter();
    size_t i = atomic_fetch_sub(&outer_count, 1) - 1;
    atomic_store(&running, outer[i].id);
    if (outer[i].wanted) {
        interrupt_here(outer[i].id);
    }
    leave();
}

bool pc_turn_interrupted(void) {
    uint64_t id = atomic_exchange(&interrupt, 0);
    return id != 0 && id == atomic_load(&running);
}

/* ---- Many calls */

/* begun_count if it is not there. */
static size_t find_begun(uint64_t id) {
    size_t i = 0;
    while (i < begun_count && begun[i].id != id) {
        i++;
    }
    return i;
}

bool pc_turn_join(uint64_t id) {
    enter();
    bool joins = !take_waiting(id);
    if (joins) {
        begun[begun_count].id = id;
        begun[begun_count].signaled = false;
        begun[begun_count++].wanted = false;
    }
    atomic_store(&last, id);
    leave();
    return joins;
}

void pc_turn_leave(uint64_t id) {
    enter();
    size_t i = find_begun(id);
    if (i < begun_count) {
        begun_count--;
        for (; i < begun_count; i++) {
            begun[i] = begun[i + 1]; /* the oldest stays in front */
        }
    }
    leave();
}

size_t pc_turn_take_interrupts(uint64_t *ids) {
    size_t n = 0;
    enter();
    for (size_t i = 0; i < begun_count; i++) {
        if (begun[i].wanted) {
            begun[i].wanted = false;
            ids[n] = begun[i].id;
            n += !begun[i].signaled;
        }
    }
    leave();
    return n;
}

uint64_t pc_turn_step(uint64_t id) {
    uint64_t before = atomic_exchange(&running, id);
    if (atomic_load(&attention)) { /* a signal that was meant for the step before has been sent then */
        enter();
        leave();
    }
    return before;
}

bool pc_turn_missed(uint64_t id) {
    uint64_t expected = id;
    return atomic_load_explicit(&interrupt, memory_order_relaxed) == id &&
           atomic_compare_exchange_strong(&interrupt, &expected, 0);
}

/* ---- The side thread */

void pc_turn_signal(uint64_t id) {
    enter();
    if (id == atomic_load(&running)) {
        atomic_store(&interrupt, id);
        send_signal();
    }
    leave();
}

uint64_t pc_turn_running(void) {
    (void)pthread_mutex_lock(&lock);
    uint64_t id = atomic_load(&running);
    if (many) {
        id = begun_count == 0 ? 0 : begun[0].id;
    } else if (waits(id)) { /* it is about to find that it may not */
        id = 0;
    }
    (void)pthread_mutex_unlock(&lock);
    return id;
}

static enum pc_turn_state decide(uint64_t id) {
    if (waits(id)) {
        return PC_TURN_UNSTARTED;
    }
    if (many) {
        size_t i = find_begun(id);
        if (i < begun_count) {
            return begun[i].wanted ? PC_TURN_HELD : PC_TURN_STARTED;
        }
    } else if (id != 0 && (id == atomic_load(&running) || find_outer(id) < PC_TURN_MOST_OUTER)) {
        return PC_TURN_STARTED; /* before `last`, which is written after it */
    }
    if (id <= atomic_load(&last)) {
        return PC_TURN_ENDED;
    }
    if (waiting_count == PC_TURN_MOST_WAITING) {
        return PC_TURN_FULL;
    }
    waiting[waiting_count++] = id;
    return PC_TURN_UNSTARTED;
}

static void interrupt_running(uint64_t id) {
    atomic_store(&interrupt, id);
    patience_ms = can_signal ? FIRST_MS : 0;
    send_signal();
}

/* And what runs on top of it. */
static void interrupt_outer(size_t i) {
    uint64_t top = atomic_load(&running);
    outer[i].wanted = true;
    if (top != 0) {
        interrupt_running(top);
    }
}

enum pc_turn_state pc_turn_cancel(uint64_t id, bool interrupts) {
    enter();
    enum pc_turn_state state = decide(id);
    if ((state == PC_TURN_STARTED || state == PC_TURN_HELD) && !interrupts) {
        state = PC_TURN_RUNNING;
    }
    if (state == PC_TURN_STARTED) {
        bool signaled = id == atomic_load(&running);
        if (signaled) {
            interrupt_running(id);
        } else if (!many) {
            interrupt_outer(find_outer(id));
        }
        if (many) {
            size_t i = find_begun(id);
            begun[i].wanted = true;
            begun[i].signaled = signaled;
            wake_attendant();
        }
    }
    leave();
    return state;
}

void pc_turn_nudge(void) {
    enter();
    if (many) {
        wake_attendant();
    } else if (atomic_load(&running) == 0) {
        send_signal();
    }
    leave();
}

int pc_turn_patience(void) { return patience_ms > 0 ? patience_ms : -1; }

void pc_turn_remind(void) {
    enter();
    uint64_t id = atomic_load(&interrupt);
    if (id != 0 && id == atomic_load(&running)) {
        patience_ms = patience_ms < LONGEST_MS ? 2 * patience_ms : LONGEST_MS;
        send_signal();
    } else {
        patience_ms = 0;
    }
    leave();
}
