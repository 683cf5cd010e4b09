/* See guard.h. The handler does nothing but fstat(2), close(2) and store: it may run in a child of a process with many threads. */

#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOCKETS = 3 };

/* A socket, by its number and by what that named when it was connected. */
struct held {
    atomic_int fd; /* the number and one, so that 0 is none */
    atomic_ulong inode;
};

static struct held held[SOCKETS];
static atomic_uint count; /* of all that ever were, newest last */
static atomic_bool armed;
static atomic_bool forked;
static atomic_ulong forks; /* their beginnings and ends */
static bool registered;    /* GIL */

static bool same(int fd, unsigned long inode) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_ino == inode;
}

static void in_child(void) {
    if (atomic_load(&count) == 0) {
        return;
    }
    atomic_store(&forked, true);
    atomic_store(&armed, false);
    for (int i = 0; i < SOCKETS; i++) {
        int fd = atomic_exchange(&held[i].fd, 0) - 1;
        if (fd >= 0 && same(fd, atomic_load(&held[i].inode))) {
            (void)close(fd);
        }
    }
}

static void in_parent(void) { (void)atomic_fetch_add(&forks, 1); }

static int watch_forks(void) {
    if (!registered) {
        int error = pthread_atfork(in_parent, in_parent, in_child);
        if (error != 0) {
            return -error;
        }
        registered = true;
    }
    return 0;
}

static bool holds(int fd) {
    for (int i = 0; i < SOCKETS; i++) {
        if (atomic_load(&held[i].fd) == fd + 1 && same(fd, atomic_load(&held[i].inode))) {
            return true;
        }
    }
    return false;
}

int pc_guard_hold(int fd) {
    struct stat st;
    int error = watch_forks();
    if (error != 0 || holds(fd)) {
        return error;
    }
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    struct held *h = &held[atomic_fetch_add(&count, 1) % SOCKETS];
    atomic_store(&h->fd, 0);
    atomic_store(&h->inode, (unsigned long)st.st_ino);
    atomic_store(&h->fd, fd + 1);
    return 0;
}

int pc_guard_arm(int call_fd, int side_fd) {
    int error = pc_guard_hold(call_fd);
    if (error == 0) {
        error = pc_guard_hold(side_fd);
    }
    atomic_store(&armed, error == 0);
    return error;
}

void pc_guard_disarm(void) { atomic_store(&armed, false); }

bool pc_guard_armed(void) { return atomic_load(&armed); }

unsigned long pc_guard_forks(void) { return atomic_load(&forks); }

bool pc_guard_forked(void) { return atomic_load(&forked); }
