/* See bell.h. Only that it was rung counts, not how often: what does not go into the pipe is told by what is there. */

#include "bell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

int pc_bell_open(struct pc_bell *b) {
    if (b->ends[0] < 0 && pipe2(b->ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        (void)PyErr_SetFromErrno(PyExc_OSError);
        *b = PC_NO_BELL;
        return -1;
    }
    return 0;
}

void pc_bell_close(struct pc_bell *b) {
    for (int i = 0; i < 2; i++) {
        if (b->ends[i] >= 0) {
            (void)close(b->ends[i]);
        }
    }
    *b = PC_NO_BELL;
}

void pc_bell_ring(const struct pc_bell *b) {
    ssize_t put;
    do {
        put = b->ends[1] < 0 ? 0 : write(b->ends[1], "", 1);
    } while (put < 0 && errno == EINTR);
}

void pc_bell_hush(const struct pc_bell *b) {
    char rings[16];
    ssize_t got;
    do {
        got = read(b->ends[0], rings, sizeof rings);
    } while (got == (ssize_t)sizeof rings || (got < 0 && errno == EINTR));
}

int pc_bell_wait(const struct pc_bell *b, int fd) {
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = b->ends[0], .events = POLLIN}};
    int ready, error;
    Py_BEGIN_ALLOW_THREADS ready = poll(p, 2, -1);
    error = errno;
    Py_END_ALLOW_THREADS if (ready < 0 && error != EINTR) {
        errno = error;
        (void)PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    if (p[1].revents != 0) {
        pc_bell_hush(b);
    }
    return PyErr_CheckSignals();
}
