/* See preparer.h. */

#include "preparer.h"

#include <stdatomic.h>

#include "thread.h"

enum { STACK = 128 * 1024 };

static enum { UNBORN, RUNS, NEVER } state;
static pthread_t thread;
static sem_t work;
static atomic_bool over;
static struct pc_segments *of;

static void *run(void *up) {
    (void)sem_post(up);
    for (pc_thread_wait(&work); !over; pc_thread_wait(&work)) {
        pc_segments_prepare(of);
    }
    return NULL;
}

static bool start(void) {
    (void)sem_init(&work, 0, 0);
    bool good = pc_thread_start(&thread, STACK, run) == 0;
    if (!good) {
        (void)sem_destroy(&work);
    }
    return good;
}

void pc_preparer_wake(struct pc_segments *segments) {
    if (state == UNBORN) {
        of = segments;
        over = false;
        state = start() ? RUNS : NEVER;
    }
    if (state == RUNS) {
        (void)sem_post(&work);
    }
}

void pc_preparer_stop(void) {
    if (state == RUNS) {
        over = true;
        (void)sem_post(&work);
        (void)pthread_join(thread, NULL);
        (void)sem_destroy(&work);
    }
    state = UNBORN;
}
