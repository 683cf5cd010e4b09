/*
 * Workers. A worker is in the table from the request on, so that a signal for one that is on its way is not lost.
 *
 * Invariants: pid != 0 exactly when pidfd >= 0; for every request there is one "forked" or "fork_failed", and for every "forked"
 * one "exit".
 */

#include "worker.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "link.h"
#include "memory.h"
#include "os/os.h"
#include "signals.h"
#include "sweep.h"
#include "zygote.h"

enum {
    /* An orphan that was between fork and exec shows no mark; it does a little later. */
    SECOND_LOOK_MS = 200,
    /* Descriptors of a worker, of a zygote, and of the port itself with what it opens for a moment. */
    PER_WORKER = 3,
    PER_ZYGOTE = 4,
    PER_PORT = 24,
};

struct pc_worker *pc_worker_by_wid(struct pc_port *p, uint32_t wid) {
    struct pc_worker *w = p->workers;
    while (w != NULL && (w->wid != wid || w->done)) {
        w = w->next;
    }
    return w;
}

struct pc_worker *pc_worker_by_pid(struct pc_port *p, pid_t pid) {
    struct pc_worker *w = p->workers;
    while (w != NULL && (w->pid != pid || w->done)) {
        w = w->next;
    }
    return w;
}

bool pc_worker_any(const struct pc_port *p, const struct pc_zygote *z) {
    for (const struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        if (w->zygote == z && !w->done) {
            return true;
        }
    }
    return false;
}

/* A descriptor table that is full would lose the pidfd of a worker that runs; so it is never filled. */
static bool descriptors_left(const struct pc_port *p) {
    size_t used = PER_PORT;
    for (const struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        used += PER_ZYGOTE;
    }
    for (const struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        used += PER_WORKER;
    }
    return used + PER_WORKER <= p->descriptors;
}

static void refuse(struct pc_port *p, uint32_t wid, const char *message) {
    pc_message_fork_failed(&p->output, wid, message, strlen(message));
}

void pc_worker_request(struct pc_port *p, uint64_t zid, uint32_t wid, const uint8_t *payload, size_t n) {
    struct pc_zygote *z = pc_zygote_by_zid(p, zid);
    char text[128];
    if (p->phase != PC_RUNNING) {
        refuse(p, wid, "the port is stopping");
    } else if (wid == 0) {
        refuse(p, wid, "worker 0 is the zygote");
    } else if (z == NULL || z->ended || z->link < 0) {
        refuse(p, wid, "the zygote is not running");
    } else if (pc_worker_by_wid(p, wid) != NULL) {
        refuse(p, wid, "a worker with this id is there already");
    } else if (n > PC_PAYLOAD_MAX) {
        refuse(p, wid, "the payload is larger than 64 KiB");
    } else if (!descriptors_left(p)) {
        snprintf(text, sizeof text, "too many workers for %zu open descriptors; raise the limit (ulimit -n)",
                 p->descriptors);
        refuse(p, wid, text);
    } else {
        struct pc_worker *w = pc_alloc(sizeof *w);
        w->zygote = z;
        w->wid = wid;
        w->pidfd = w->out[0].fd = w->out[1].fd = -1;
        w->next = p->workers;
        p->workers = w;
        pc_link_send_fork(p, z, wid, payload, n);
    }
}

bool pc_worker_forked(struct pc_port *p, struct pc_zygote *z, uint32_t wid, pid_t pid, const int fds[3]) {
    struct pc_worker *w = pc_worker_by_wid(p, wid);
    if (w == NULL || w->zygote != z || w->pid != 0) {
        return false;
    }
    w->pid = pid;
    w->pidfd = fds[0];
    pc_stream_open(&w->out[0], fds[1], wid, STDOUT_FILENO);
    pc_stream_open(&w->out[1], fds[2], wid, STDERR_FILENO);
    pc_message_forked(&p->output, wid, pid);
    if (w->signal != 0) {
        pc_worker_signal(w, w->signal);
    }
    return true;
}

void pc_worker_fork_failed(struct pc_port *p, struct pc_worker *w, const char *message, size_t n) {
    pc_message_fork_failed(&p->output, w->wid, message, n);
    w->done = true;
}

void pc_worker_signal(struct pc_worker *w, int signal) {
    if (w->pidfd >= 0) {
        pc_os_pidfd_signal(w->pidfd, signal);
    } else if (w->signal != SIGKILL) {
        w->signal = signal;
    }
}

void pc_worker_signal_all(struct pc_port *p, int signal) {
    for (struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        if (!w->done) {
            pc_worker_signal(w, signal);
        }
    }
}

/* It ran when it was looked at if it still runs afterwards: so the pid was its own. */
static bool runs(const struct pc_worker *w) {
    struct pollfd p = {.fd = w->pidfd, .events = POLLIN};
    return w->pidfd >= 0 && !w->dead && !w->done && poll(&p, 1, 0) == 0;
}

void pc_worker_tell_vitals(struct pc_port *p, const struct pc_worker *w) {
    struct pc_os_vitals vitals;
    if (runs(w) && pc_os_process_vitals(w->pid, &vitals) == 0 && runs(w)) {
        pc_message_vitals(&p->output, w->wid, &vitals);
    }
}

void pc_worker_exited(struct pc_port *p, struct pc_worker *w, const struct pc_end *end) {
    pc_message_exit(&p->output, w->wid, w->pid, end);
    pc_stream_finish(&w->out[0], &p->output);
    pc_stream_finish(&w->out[1], &p->output);
    w->done = true;
    p->orphans_due = true;
    p->orphans_at = pc_now_ms() + SECOND_LOOK_MS;
}

void pc_worker_collect(struct pc_port *p) {
    struct pc_worker **at = &p->workers;
    while (*at != NULL) {
        struct pc_worker *w = *at;
        if (!w->done) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (w->pidfd >= 0) {
            close(w->pidfd);
        }
        free(w);
    }
}

static bool kill_if_orphan(pid_t pid, void *context) {
    struct pc_port *p = context;
    uint32_t wid;
    if (pc_zygote_by_pid(p, pid) != NULL || !pc_mark_read(pid, p->instance, &wid)) {
        return true;
    }
    bool owned = wid == 0 ? pc_zygote_alive(p) : pc_worker_by_wid(p, wid) != NULL;
    if (!owned) {
        kill(pid, SIGKILL);
    }
    return true;
}

void pc_worker_kill_orphans(struct pc_port *p) { pc_os_each_child(kill_if_orphan, p); }
