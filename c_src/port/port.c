/*
 * The loop. Each turn: wait for descriptors and signals; take what is there; then settle, which is the only place where the
 * phase changes and where workers and zygotes are freed, so that nothing a turn still points at goes away under it.
 *
 * It ends by itself in every case: an orderly stop, end of file on stdin, the guard's death, a signal, bad input.
 */

#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "launch.h"
#include "link.h"
#include "memory.h"
#include "messages.h"
#include "os/os.h"
#include "signals.h"
#include "sweep.h"
#include "watch.h"
#include "worker.h"
#include "zygote.h"

/* How long between two SIGKILLs to whatever is a child then. */
enum { SWEEP_MS = 20 };

/* What a descriptor in the poll table belongs to. */
struct source {
    enum { STDIN, STDOUT, GUARD, LINK, REPORT, WORKER, STREAM } kind;
    struct pc_zygote *zygote;
    struct pc_worker *worker;
    struct pc_stream *stream;
};

struct poll_table {
    struct pollfd *fds;
    struct source *sources;
    nfds_t n;
    size_t cap;
};

static void table_add(struct poll_table *t, int fd, short events, struct source source) {
    if (fd < 0) {
        return;
    }
    if (t->n == t->cap) {
        t->cap = t->cap * 2 + 16;
        t->fds = pc_realloc(t->fds, t->cap, sizeof *t->fds);
        t->sources = pc_realloc(t->sources, t->cap, sizeof *t->sources);
    }
    t->fds[t->n] = (struct pollfd){.fd = fd, .events = events};
    t->sources[t->n++] = source;
}

static void table_add_streams(struct poll_table *t, struct pc_stream out[2]) {
    for (int i = 0; i < 2; i++) {
        table_add(t, out[i].fd, POLLIN, (struct source){.kind = STREAM, .stream = &out[i]});
    }
}

static void table_fill(struct poll_table *t, struct pc_port *p) {
    t->n = 0;
    if (!p->vm_gone) {
        table_add(t, STDIN_FILENO, POLLIN, (struct source){.kind = STDIN});
    }
    if (!p->output.closed) {
        /* Without events it still tells when nobody reads any more. */
        table_add(t, STDOUT_FILENO, pc_output_pending(&p->output) ? POLLOUT : 0, (struct source){.kind = STDOUT});
    }
    if (!p->guard_gone) {
        table_add(t, p->guard, POLLIN, (struct source){.kind = GUARD});
    }
    for (struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        table_add(t, z->link, (short)(POLLIN | (z->first != NULL ? POLLOUT : 0)),
                  (struct source){.kind = LINK, .zygote = z});
        table_add(t, z->report, POLLIN, (struct source){.kind = REPORT, .zygote = z});
        table_add_streams(t, z->out);
    }
    for (struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        if (!w->dead) {
            table_add(t, w->pidfd, POLLIN, (struct source){.kind = WORKER, .worker = w});
        }
        table_add_streams(t, w->out);
    }
}

static void dispatch(struct pc_port *p, const struct source *s, short events) {
    switch (s->kind) {
    case STDIN:
        if ((events & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
            /* What it may have sent last does not matter any more. */
            p->vm_gone = true;
        } else {
            pc_control_read(p);
        }
        break;
    case STDOUT:
        if ((events & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
            p->vm_gone = true;
        } else {
            pc_output_flush(&p->output);
        }
        break;
    case GUARD:
        p->guard_gone = true;
        break;
    case LINK:
        if ((events & POLLOUT) != 0) {
            pc_link_flush(p, s->zygote);
        }
        if ((events & ~POLLOUT) != 0 && s->zygote->link >= 0) {
            pc_link_read(p, s->zygote);
        }
        break;
    case REPORT:
        if (s->zygote->report >= 0) {
            pc_zygote_report(p, s->zygote);
        }
        break;
    case WORKER:
        s->worker->dead = true;
        break;
    case STREAM:
        pc_stream_read(s->stream, &p->output);
        break;
    }
}

/* A guard that was stopped (SIGSTOP) would outlive everybody. */
static void wake_guard(const struct pc_port *p) {
    if (p->guard_pidfd >= 0) {
        pc_os_pidfd_signal(p->guard_pidfd, SIGCONT);
    }
}

void pc_port_stop(struct pc_port *p, int64_t grace_ms, int status, const char *fault) {
    int64_t deadline = pc_now_ms() + grace_ms;
    if (p->status == 0) {
        p->status = status;
        p->fault = fault;
    }
    if (p->phase == PC_RUNNING) {
        p->phase = PC_STOPPING;
        p->deadline = deadline;
        wake_guard(p);
        pc_worker_signal_all(p, SIGTERM);
    } else if (deadline < p->deadline) {
        p->deadline = deadline;
    }
}

/* A worker is the port's child only after its zygote's death. Everything unknown is an adopted orphan that has ended. */
static void reap_one(struct pc_port *p, pid_t pid) {
    struct rusage usage;
    int status = 0;
    struct pc_zygote *z = pc_zygote_by_pid(p, pid);
    for (struct pc_zygote *link = p->zygotes; link != NULL; link = link->next) {
        /* What a zygote said before it died comes before its death, and before its workers'. */
        if (link->link >= 0 && (link == z || pc_worker_by_pid(p, pid) == NULL)) {
            pc_link_drain(p, link);
        }
    }
    struct pc_worker *w = pc_worker_by_pid(p, pid);
    if (z != NULL || w != NULL || p->phase == PC_KILLING) {
        /* While the zombie keeps the number from being used again. */
        kill(-pid, SIGKILL);
    }
    pc_sweep_reap(pid, &status, &usage);
    if (z != NULL) {
        pc_zygote_ended(p, z, status);
    } else if (w != NULL) {
        const struct pc_end end = pc_end_waited(status, &usage);
        pc_worker_exited(p, w, &end);
    }
    p->orphans_due = true;
}

/* False when there is no child left at all. */
static bool reap(struct pc_port *p) {
    pid_t pid;
    while ((pid = pc_sweep_next()) > 0) {
        reap_one(p, pid);
    }
    return pid == 0;
}

static void look_for_orphans(struct pc_port *p, int64_t now) {
    if (p->orphans_at != 0 && now >= p->orphans_at) {
        p->orphans_at = 0;
        p->orphans_due = true;
    }
    if (p->orphans_due) {
        p->orphans_due = false;
        pc_worker_kill_orphans(p);
    }
}

/* Follows what happened in this turn. */
static void settle(struct pc_port *p) {
    bool children = reap(p);
    int64_t now = pc_now_ms();
    if (p->vm_gone || p->guard_gone) {
        pc_port_stop(p, PC_GRACE_MS, 0, NULL);
    }
    if (p->vm_gone && !p->output.closed) {
        pc_output_discard(&p->output);
    }
    pc_zygote_settle(p, now);
    pc_watch_settle(p, now);
    look_for_orphans(p, now);
    if (p->phase == PC_STOPPING) {
        pc_zygote_dismiss_idle(p);
        if (!pc_zygote_alive(p) || now >= p->deadline) {
            p->phase = PC_KILLING;
        }
    }
    if (p->phase == PC_KILLING) {
        /* Workers too, which are not children as long as their zygote lives. */
        pc_worker_signal_all(p, SIGKILL);
        pc_sweep_kill_children();
        if (!children && !pc_zygote_alive(p)) {
            p->phase = PC_FLUSHING;
        }
    }
    pc_worker_collect(p);
    pc_zygote_collect(p);
    pc_output_report(&p->output, now);
    if (p->phase == PC_FLUSHING && !pc_output_pending(&p->output)) {
        pc_output_finish(&p->output);
        p->phase = pc_output_pending(&p->output) ? PC_FLUSHING : PC_STOPPED;
    }
}

static int64_t next_timeout(const struct pc_port *p) {
    int64_t now = pc_now_ms();
    int64_t at = p->orphans_at;
    int64_t report_at = pc_output_report_at(&p->output);
#define EARLIER(t) ((t) != 0 && (at == 0 || (t) < at) ? (t) : at)
    if (p->phase == PC_STOPPING) {
        at = EARLIER(p->deadline);
    }
    at = EARLIER(report_at);
    for (const struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        at = EARLIER(z->kill_at);
        at = EARLIER(z->look_at);
    }
#undef EARLIER
    if (p->phase == PC_KILLING && (at == 0 || at > now + SWEEP_MS)) {
        at = now + SWEEP_MS;
    }
    return at == 0 ? -1 : at > now ? at - now : 0;
}

static void turn(struct pc_port *p, struct poll_table *t) {
    table_fill(t, p);
    if (pc_signals_poll(t->fds, t->n, next_timeout(p)) < 0) {
        pc_port_stop(p, 0, PC_EXIT_OS, "poll failed");
    }
    if (pc_signals_take_stop()) {
        pc_port_stop(p, PC_GRACE_MS, 0, NULL);
    }
    /* Before the phase changes: the VM's descriptors are first in the table. */
    for (nfds_t i = 0; i < t->n; i++) {
        if (t->fds[i].revents != 0) {
            dispatch(p, &t->sources[i], t->fds[i].revents);
        }
    }
    settle(p);
}

int pc_port_run(const char *instance, int guard, int guard_pidfd, bool *guard_gone) {
    struct pc_port *p = pc_alloc(sizeof *p);
    struct poll_table table = {0};
    p->instance = instance;
    p->guard = guard;
    p->guard_pidfd = guard_pidfd;
    p->descriptors = pc_launch_raise_descriptors();
    pc_output_init(&p->output, STDOUT_FILENO);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    pc_os_become_subreaper();
    pc_message_hello(&p->output, getppid(), getpid());
    while (p->phase != PC_STOPPED) {
        turn(p, &table);
    }
    if (p->fault != NULL) {
        fprintf(stderr, "pitcrew_port: %s\n", p->fault);
    }
    int status = p->status;
    *guard_gone = p->guard_gone;
    wake_guard(p);
    pc_output_destroy(&p->output);
    free(p->input);
    free(table.fds);
    free(table.sources);
    free(p);
    return status;
}
