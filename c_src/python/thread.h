#ifndef PC_PYTHON_THREAD_H
#define PC_PYTHON_THREAD_H

/* Threads of a worker's own. */

#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>

/*
 * The thread is born with every signal blocked: signals are for threads that Python's handlers know. Its birth allocates, and a tool may fork at any
 * moment after this, so that this waits until `run` has posted the semaphore that it is given; who has the GIL gives it up if `run` takes it before.
 * `stack` is in bytes; 0: as large as the system has it. 0 or -errno.
 */
int pc_thread_start(pthread_t *thread, size_t stack, void *(*run)(void *up));

/* Whatever signals come. */
void pc_thread_wait(sem_t *semaphore);

#endif
