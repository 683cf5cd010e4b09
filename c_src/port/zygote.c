/*
 * Zygotes. When one dies its workers die with it (PR_SET_PDEATHSIG, and a SIGKILL in case one had cleared that) and become
 * children of the port, which reaps and reports them; only then the zygote is "gone".
 */

#include "zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link.h"
#include "memory.h"
#include "messages.h"
#include "os/os.h"
#include "signals.h"
#include "worker.h"

/* A zygote may finish its exit after closing its link, but not live on without. */
enum { LINKLESS_MS = 1000, NOT_STARTED = 127 << 8 };

struct pc_zygote *pc_zygote_by_zid(struct pc_port *p, uint64_t zid) {
    struct pc_zygote *z = p->zygotes;
    while (z != NULL && (z->zid != zid || z->done)) {
        z = z->next;
    }
    return z;
}

struct pc_zygote *pc_zygote_by_pid(struct pc_port *p, pid_t pid) {
    struct pc_zygote *z = p->zygotes;
    while (z != NULL && (z->pid != pid || z->ended)) {
        z = z->next;
    }
    return z;
}

bool pc_zygote_alive(const struct pc_port *p) {
    const struct pc_zygote *z = p->zygotes;
    while (z != NULL && z->ended) {
        z = z->next;
    }
    return z != NULL;
}

static const char *error_type(int error) {
    switch (error) {
    case ENOENT:
        return "FileNotFoundError";
    case EACCES:
    case EPERM:
        return "PermissionError";
    case ENOTDIR:
        return "NotADirectoryError";
    default:
        return "OSError";
    }
}

static char *program_name(const struct pc_launch *l) {
    const char *name = l->argv.count > 0 ? l->argv.items[0] : "";
    return pc_copy(name, strlen(name));
}

void pc_zygote_start(struct pc_port *p, uint32_t zid, struct pc_launch *launch) {
    struct pc_launched launched = {.pid = 0, .link = -1, .report = -1, .out = {-1, -1}};
    const char *problem = launch->problem;
    int rc = 0;
    if (pc_zygote_by_zid(p, zid) != NULL) {
        pc_output_note(&p->output, "pitcrew_port: zygote %u is there already; the request was ignored", zid);
        return;
    }
    if (p->phase != PC_RUNNING) {
        problem = "the port is stopping";
    } else if (launch->argv.count == 0) {
        problem = "no program was given";
    }
    if (problem == NULL) {
        rc = pc_launch_run(launch, &launched);
    }
    struct pc_zygote *z = pc_alloc(sizeof *z);
    z->zid = zid;
    z->pid = launched.pid;
    z->link = launched.link;
    z->report = launched.report;
    z->last = &z->first;
    z->program = program_name(launch);
    z->cd = launch->cd != NULL ? pc_copy(launch->cd, strlen(launch->cd)) : NULL;
    z->out[0].fd = z->out[1].fd = -1;
    z->next = p->zygotes;
    p->zygotes = z;
    if (launched.pid > 0) {
        pc_stream_open(&z->out[0], launched.out[0], 0, STDOUT_FILENO);
        pc_stream_open(&z->out[1], launched.out[1], 0, STDERR_FILENO);
        pc_message_zygote(&p->output, zid, z->pid);
        return;
    }
    pc_message_failed_here(&p->output, zid, problem != NULL ? "exec" : "internal",
                           problem != NULL ? "ValueError" : error_type(-rc), problem != NULL ? problem : strerror(-rc));
    z->ended = true;
    z->status = NOT_STARTED;
}

void pc_zygote_report(struct pc_port *p, struct pc_zygote *z) {
    struct pc_launch_error failure;
    ssize_t n = read(z->report, &failure, sizeof failure);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n == (ssize_t)sizeof failure) {
        const char *subject = failure.cd ? z->cd : z->program;
        size_t size = strlen(subject) + 256;
        char *text = pc_alloc(size);
        snprintf(text, size, "cannot %s \"%s\": %s", failure.cd ? "change to the folder" : "run the program", subject,
                 strerror(failure.error));
        pc_message_failed_here(&p->output, z->zid, "exec", error_type(failure.error), text);
        free(text);
    }
    close(z->report);
    z->report = -1;
}

void pc_zygote_signal(struct pc_zygote *z, int signal) {
    if (!z->ended) {
        kill(z->pid, signal);
    }
}

void pc_zygote_signal_all(struct pc_port *p, int signal) {
    for (struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        pc_zygote_signal(z, signal);
    }
}

void pc_zygote_dismiss_idle(struct pc_port *p) {
    for (struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        if (!z->dismissed && !z->ended && !pc_worker_any(p, z)) {
            z->dismissed = true;
            if (z->link >= 0) {
                shutdown(z->link, SHUT_WR);
            }
            pc_zygote_signal(z, SIGTERM);
        }
    }
}

void pc_zygote_ended(struct pc_port *p, struct pc_zygote *z, int status) {
    static const char text[] = "the zygote has ended";
    const struct pc_end unknown = pc_end_unknown();
    z->ended = true;
    z->status = status;
    p->orphans_due = true;
    for (struct pc_worker *w = p->workers; w != NULL; w = w->next) {
        if (w->zygote != z || w->done) {
            continue;
        }
        if (w->pid == 0) {
            pc_worker_fork_failed(p, w, text, sizeof text - 1);
        } else if (pc_os_pidfd_is_child(w->pidfd) == 0) {
            /* The zygote had waited for it, and died before it could say so. */
            pc_worker_exited(p, w, &unknown);
        } else {
            pc_worker_signal(w, SIGKILL);
        }
    }
}

void pc_zygote_settle(struct pc_port *p, int64_t now) {
    for (struct pc_zygote *z = p->zygotes; z != NULL; z = z->next) {
        if (z->link < 0 && !z->ended) {
            z->kill_at = z->kill_at != 0 ? z->kill_at : now + LINKLESS_MS;
            if (now >= z->kill_at) {
                pc_zygote_signal(z, SIGKILL);
            }
        }
        if (z->ended && !z->done && !pc_worker_any(p, z)) {
            if (z->report >= 0) {
                pc_zygote_report(p, z);
            }
            pc_message_gone(&p->output, z->zid, z->pid, z->status);
            pc_stream_finish(&z->out[0], &p->output);
            pc_stream_finish(&z->out[1], &p->output);
            z->done = true;
            p->orphans_due = true;
        }
    }
}

void pc_zygote_collect(struct pc_port *p) {
    struct pc_zygote **at = &p->zygotes;
    while (*at != NULL) {
        struct pc_zygote *z = *at;
        if (!z->done) {
            at = &z->next;
            continue;
        }
        *at = z->next;
        pc_link_close(z);
        if (z->report >= 0) {
            close(z->report);
        }
        free(z->program);
        free(z->cd);
        free(z);
    }
}
