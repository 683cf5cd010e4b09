/* See preparer.h. */

#include "preparer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

enum { STACK = 128 * 1024 };

static enum { UNBORN, RUNS, NEVER } state;
static pthread_t thread;
static sem_t work;
static atomic_bool over;
static struct pc_segments *of;

static void wait_for(sem_t *sem) {
    while (sem_wait(sem) < 0 && errno == EINTR) {}
}

static void *run(void *born) {
    (void)sem_post(born);
    for (wait_for(&work); !over; wait_for(&work)) {
        pc_segments_prepare(of);
    }
    return NULL;
}

/* The birth allocates, so it is over when this returns. */
static bool start(void) {
    pthread_attr_t attr;
    sigset_t all, before;
    sem_t born;
    (void)sem_init(&work, 0, 0);
    (void)sem_init(&born, 0, 0);
    (void)pthread_attr_init(&attr); /* cannot fail on Linux */
    (void)pthread_attr_setstacksize(&attr, STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attr, run, &born);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (error == 0) {
        wait_for(&born);
    } else {
        (void)sem_destroy(&work);
    }
    (void)sem_destroy(&born);
    return error == 0;
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
