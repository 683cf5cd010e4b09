/* See guard.h. The handler does nothing but close(2) and store: it may run in a child of a process with many threads. */

#include "guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int fds[2] = {-1, -1};
static atomic_bool armed;
static atomic_bool forked;
static bool registered; /* GIL */

static void in_child(void) {
    if (!atomic_exchange(&armed, false)) {
        return;
    }
    atomic_store(&forked, true);
    for (int i = 0; i < 2; i++) {
        int fd = atomic_exchange(&fds[i], -1);
        if (fd >= 0) {
            (void)close(fd);
        }
    }
}

int pc_guard_arm(int call_fd, int side_fd) {
    if (!registered) {
        int error = pthread_atfork(NULL, NULL, in_child);
        if (error != 0) {
            return -error;
        }
        registered = true;
    }
    atomic_store(&fds[0], call_fd);
    atomic_store(&fds[1], side_fd);
    atomic_store(&armed, true);
    return 0;
}

void pc_guard_disarm(void) { atomic_store(&armed, false); }

bool pc_guard_armed(void) { return atomic_load(&armed); }

bool pc_guard_forked(void) { return atomic_load(&forked); }
