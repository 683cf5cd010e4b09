/* See thread.h. */

#include "thread.h"

#include <errno.h>
#include <signal.h>

void pc_thread_wait(sem_t *semaphore) {
    while (sem_wait(semaphore) < 0 && errno == EINTR) {}
}

int pc_thread_start(pthread_t *thread, size_t stack, void *(*run)(void *up)) {
    pthread_attr_t attr;
    sigset_t all, before;
    sem_t up;
    (void)sem_init(&up, 0, 0);
    (void)pthread_attr_init(&attr); /* cannot fail on Linux */
    if (stack > 0) {
        (void)pthread_attr_setstacksize(&attr, stack);
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, &attr, run, &up);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (error == 0) {
        pc_thread_wait(&up);
    }
    (void)sem_destroy(&up);
    return -error;
}
