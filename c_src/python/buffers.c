/* See buffers.h. */

#include "buffers.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "guard.h"
#include "preparer.h"
#include "wire/boards.h"

static const int64_t idle_ns = INT64_C(10) * 1000 * 1000 * 1000; /* what has been free for so long is given back */

struct pc_buffers {
    int socket; /* owned */
    unsigned holds;
    struct pc_boards boards; /* owned */
    struct pc_segments *out;
    struct pc_views *in; /* NULL once closed; views that are out then live on by themselves */
};

static struct pc_buffers *current;

/* Waits for them. A socket whose other end is closed is readable, and has nothing. */
static int receive_boards(struct pc_buffers *b) {
    struct pollfd p = {.fd = b->socket, .events = POLLIN};
    int error = pc_boards_receive(b->socket, &b->boards);
    while (error == -EAGAIN && (p.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0) {
        if (poll(&p, 1, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        error = pc_boards_receive(b->socket, &b->boards);
    }
    return error == -EAGAIN ? -ECONNRESET : error;
}

static int open_ends(struct pc_buffers *b, size_t most) {
    struct pc_segments_opts out = {.socket = b->socket, .most = most, .protect = true, .board = b->boards.other};
    struct pc_views_opts in = {.socket = b->socket, .most = most, .copy_on_write = true};
    b->out = pc_segments_new(&out);
    b->in = b->out == NULL ? NULL : pc_views_new(&in, b->boards.own);
    return b->in == NULL ? -ENOMEM : 0;
}

static void close_views(struct pc_buffers *b) {
    if (b->in != NULL) {
        pc_views_free(b->in);
        b->in = NULL;
    }
}

void pc_buffers_release(struct pc_buffers *b) {
    if (--b->holds > 0) {
        return;
    }
    if (b->out != NULL) {
        pc_segments_free(b->out);
    }
    pc_boards_close(&b->boards);
    (void)close(b->socket);
    free(b);
}

int pc_buffers_open(int socket, size_t most) {
    struct pc_buffers *b = current != NULL ? NULL : calloc(1, sizeof *b);
    if (b == NULL) {
        (void)close(socket);
        return current != NULL ? -EBUSY : -ENOMEM;
    }
    *b = (struct pc_buffers){.socket = socket, .holds = 1};
    int error = pc_guard_hold(socket);
    if (error == 0) {
        error = receive_boards(b);
    }
    if (error == 0) {
        error = open_ends(b, most);
    }
    if (error == 0) {
        current = b;
        return 0;
    }
    close_views(b);
    pc_buffers_release(b);
    return error;
}

void pc_buffers_close(void) {
    struct pc_buffers *b = current;
    if (b != NULL) {
        current = NULL;
        if (!pc_guard_forked()) { /* a child has no such thread */
            pc_preparer_stop();
        }
        close_views(b);
        pc_buffers_release(b);
    }
}

struct pc_buffers *pc_buffers_now(void) {
    return pc_guard_forked() ? NULL : current;
}

void pc_buffers_hold(struct pc_buffers *b) { b->holds++; }

struct pc_segments *pc_buffers_out(struct pc_buffers *b) {
    return b->out;
}

struct pc_views *pc_buffers_in(struct pc_buffers *b) {
    return b->in;
}

void pc_buffers_prepare(struct pc_buffers *b) {
    if (current != NULL && b == current && !pc_guard_forked() && pc_segments_wants_spare(current->out)) {
        pc_preparer_wake(b->out);
    }
}

void pc_buffers_tend(void) {
    if (current != NULL) {
        pc_segments_trim(current->out, idle_ns);
        pc_views_tend(current->in);
    }
}
