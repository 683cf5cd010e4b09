/* See attendant.h. It is woken by a semaphore, so that a wake is neither lost nor waits for anybody. */

#include "attendant.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "thread.h"

static pthread_t thread;
static sem_t bell;
static atomic_bool ending;
static void (*attend)(void *context);
static void *attended;

static void *run(void *up) {
    PyGILState_STATE state = PyGILState_Ensure();
    PyThreadState *own = PyEval_SaveThread();
    (void)sem_post(up);
    for (pc_thread_wait(&bell); !atomic_load(&ending); pc_thread_wait(&bell)) {
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
    int error;
    attend = function;
    attended = context;
    atomic_store(&ending, false);
    (void)sem_init(&bell, 0, 0);
    Py_BEGIN_ALLOW_THREADS error = pc_thread_start(&thread, 0, run);
    Py_END_ALLOW_THREADS if (error < 0) {
        errno = -error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 0;
}

void pc_attendant_wake(void) { (void)sem_post(&bell); }

void pc_attendant_stop(void) {
    atomic_store(&ending, true);
    (void)sem_post(&bell);
    Py_BEGIN_ALLOW_THREADS(void) pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
}
