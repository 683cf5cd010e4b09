/* See attendant.h. It is woken by a semaphore, so that a wake is neither lost nor waits for anybody. */

#include "attendant.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

static pthread_t thread;
static sem_t up, bell;
static atomic_bool ending;
static void (*attend)(void *context);
static void *attended;

static void wait_for(sem_t *what) {
    while (sem_wait(what) < 0 && errno == EINTR) {}
}

static void *run(void *arg) {
    (void)arg;
    PyGILState_STATE state = PyGILState_Ensure();
    PyThreadState *own = PyEval_SaveThread();
    (void)sem_post(&up);
    for (wait_for(&bell); !atomic_load(&ending); wait_for(&bell)) {
        while (sem_trywait(&bell) == 0) {} /* what came meanwhile is attended to at once */
        PyEval_RestoreThread(own);
        attend(attended);
        own = PyEval_SaveThread();
    }
    PyEval_RestoreThread(own);
    PyGILState_Release(state);
    return NULL;
}

int pc_attendant_start(void (*function)(void *context), void *context) {
    sigset_t all, before;
    attend = function;
    attended = context;
    atomic_store(&ending, false);
    (void)sem_init(&up, 0, 0);
    (void)sem_init(&bell, 0, 0);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for threads that Python's handlers know */
    int error = pthread_create(&thread, NULL, run, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        errno = error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS wait_for(&up);
    Py_END_ALLOW_THREADS return 0;
}

void pc_attendant_wake(void) { (void)sem_post(&bell); }

void pc_attendant_stop(void) {
    atomic_store(&ending, true);
    (void)sem_post(&bell);
    Py_BEGIN_ALLOW_THREADS(void) pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
}
