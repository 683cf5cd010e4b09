/*
 * Offsets count the bytes of the call channel from the first one that the serve loop sends. What is held are those from
 * `sent` to `ready`, at memory->held + offset - base. The process may be killed between any two stores, and then the
 * VM, which has the first R bytes, takes those from R to memory->ready, so:
 *
 * - `ready` moves past a frame only after the frame is there, and never over bytes that are sent from elsewhere.
 * - `base` moves, and bytes are overwritten, only while nothing is held. R is at least `sent` and so at least what
 *   memory->ready says.
 * - After a send that took part of them the bytes stay where they are: the VM knows better than we do how many that was.
 */

#include "hold.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/os.h"

/* A larger answer costs more to copy than the system call that would be spared. */
enum { MOST = 8 * 1024 };
/* Ticks without anything new before the alarm is turned off, which costs a system call to turn on. */
enum { IDLE_TICKS = 10 };
enum { SILENCE_MS = 10 * PC_HOLD_TICK_MS };

static const uint64_t never = UINT64_MAX;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pc_started *memory; /* NULL: nothing is held, ever */
static int fd;
static uint64_t base, sent, ready; /* offsets; base is what memory->base says or will say */
static bool usable;                /* what is put here would be looked after */
static uint64_t last_base;         /* at the last tick, or `never`; no two batches have the same */
static unsigned idle;              /* ticks */

static atomic_bool any;      /* ready > sent; written with the lock */
static atomic_bool watched;  /* the alarm is on; written with the lock */
static atomic_int bell = -1; /* written with the lock once the side thread runs */

static struct pc_started ours; /* where there is no other */

void pc_hold_open_none(void) {
    memory = NULL;
    usable = false;
    atomic_store(&any, false);
    atomic_store(&watched, false);
}

bool pc_hold_is_safe(void) { return memory != &ours; }

void pc_hold_open(struct pc_started *shared, int call_fd) {
    base = sent = ready = 0;
    atomic_store(&any, false);
    atomic_store(&watched, false);
    fd = call_fd;
    memory = shared != NULL ? shared : &ours;
    atomic_store(&bell, pc_os_alarm());
    usable = bell >= 0;
}

void pc_hold_close(void) {
    int own = atomic_exchange(&bell, -1);
    if (own >= 0) {
        (void)close(own);
    }
    memory = NULL;
    usable = false;
}

static enum pc_io send_held(void) {
    enum pc_io io = PC_IO_DONE;
    while (sent < ready && io == PC_IO_DONE) {
        ssize_t put = send(fd, memory->held + (sent - base), ready - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put >= 0) {
            sent += (uint64_t)put;
        } else if (errno != EINTR) {
            io = errno == EAGAIN || errno == EWOULDBLOCK ? PC_IO_AGAIN : PC_IO_EOF;
        }
    }
    usable = usable && io != PC_IO_EOF;
    atomic_store_explicit(&any, sent < ready, memory_order_relaxed);
    return io;
}

/* The tool may have closed every descriptor it found, and opened others: the number is not ours any more then. */
static void set_alarm(int milliseconds) {
    if (pc_os_alarm_set(atomic_load(&bell), milliseconds) < 0) {
        atomic_store(&bell, -1);
        usable = false;
    }
    atomic_store(&watched, usable && milliseconds > 0);
}

static bool watch(void) {
    if (!watched) {
        last_base = never;
        idle = 0;
        set_alarm(PC_HOLD_TICK_MS);
    }
    return watched;
}

/* ---- The serve loop */

static bool put(const uint8_t *frame, size_t n) {
    if (sent == ready) {
        base = sent;
        atomic_store_explicit(&memory->base, base, memory_order_relaxed);
    }
    if (!usable || n > PC_STARTED_HELD - (ready - base) || !watch()) {
        return false;
    }
    memcpy(memory->held + (ready - base), frame, n);
    ready += n;
    atomic_store_explicit(&memory->ready, ready, memory_order_release);
    atomic_store_explicit(&any, true, memory_order_relaxed);
    return true;
}

bool pc_hold_put(const uint8_t *frame, size_t n) {
    if (memory == NULL || n > MOST) {
        return false;
    }
    (void)pthread_mutex_lock(&lock);
    bool done = put(frame, n);
    (void)pthread_mutex_unlock(&lock);
    return done;
}

void pc_hold_count(size_t n) {
    if (memory != NULL) {
        (void)pthread_mutex_lock(&lock);
        sent += n;
        ready = sent;
        (void)pthread_mutex_unlock(&lock);
    }
}

bool pc_hold_any(void) { return atomic_load_explicit(&any, memory_order_relaxed); }

enum pc_io pc_hold_flush(void) {
    (void)pthread_mutex_lock(&lock);
    enum pc_io io = send_held();
    (void)pthread_mutex_unlock(&lock);
    return io;
}

/* ---- The side thread */

int pc_hold_alarm(void) { return atomic_load(&bell); }

int pc_hold_patience(void) { return atomic_load(&watched) ? SILENCE_MS : -1; }

void pc_hold_tick(void) {
    (void)pthread_mutex_lock(&lock);
    bool same = base == last_base;
    bool held = sent < ready;
    if (same && held) {
        (void)send_held();
    }
    idle = same && !held ? idle + 1 : 0;
    last_base = base;
    set_alarm(usable && idle < IDLE_TICKS ? PC_HOLD_TICK_MS : 0);
    if (!usable) {
        (void)send_held(); /* nobody will be told to do it later */
    }
    (void)pthread_mutex_unlock(&lock);
}

void pc_hold_unwatch(void) {
    (void)pthread_mutex_lock(&lock);
    (void)send_held();
    usable = false;
    (void)pthread_mutex_unlock(&lock);
}
