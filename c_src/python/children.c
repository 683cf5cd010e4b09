/* See children.h. */

#include "children.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_ROOM = 16, UNKNOWN_STATUS = 255 };

bool pc_children_reserve(struct pc_children *c) {
    if (c->count < c->room) {
        return true;
    }
    size_t room = c->room == 0 ? FIRST_ROOM : c->room * 2;
    struct pc_child *items = realloc(c->items, room * sizeof *items);
    if (items == NULL) {
        return false;
    }
    c->items = items;
    c->room = room;
    return true;
}

void pc_children_add(struct pc_children *c, pid_t pid, uint32_t wid, int pidfd) {
    c->items[c->count++] = (struct pc_child){.pid = pid, .wid = wid, .pidfd = pidfd};
}

static int64_t microseconds(struct timeval t) { return (int64_t)t.tv_sec * 1000000 + t.tv_usec; }

/* 1: it is a zombie, and stays one. 0: it runs. -1: user code has reaped it, and its pid may be anybody's. */
static int has_exited(pid_t pid) {
    siginfo_t info = {0};
    int result;
    do {
        result = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -1 : info.si_pid == pid;
}

static void reap(pid_t pid, struct pc_child_exit *e) {
    int status = 0;
    struct rusage usage = {0};
    pid_t got;
    (void)kill(-pid, SIGKILL);
    do {
        got = wait4(pid, &status, 0, &usage);
    } while (got < 0 && errno == EINTR);
    e->by_signal = got == pid && WIFSIGNALED(status);
    e->code = got != pid ? UNKNOWN_STATUS : e->by_signal ? WTERMSIG(status) : WEXITSTATUS(status);
    e->utime_us = microseconds(usage.ru_utime);
    e->stime_us = microseconds(usage.ru_stime);
    e->maxrss_kb = usage.ru_maxrss;
}

bool pc_children_reap(struct pc_children *c, size_t index, struct pc_child_exit *e) {
    struct pc_child child = c->items[index];
    int exited = has_exited(child.pid);
    if (exited == 0) {
        return false;
    }
    *e = (struct pc_child_exit){.pid = child.pid, .wid = child.wid, .code = UNKNOWN_STATUS};
    if (exited > 0) {
        reap(child.pid, e);
    }
    (void)close(child.pidfd);
    c->items[index] = c->items[--c->count];
    return true;
}

void pc_child_discard(pid_t pid, int pidfd) {
    siginfo_t info;
    struct pc_child_exit ignored;
    int result;
    (void)kill(pid, SIGKILL);
    do {
        result = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    } while (result < 0 && errno == EINTR);
    reap(pid, &ignored);
    if (pidfd >= 0) {
        (void)close(pidfd);
    }
}

void pc_children_forget(struct pc_children *c) {
    for (size_t i = 0; i < c->count; i++) {
        (void)close(c->items[i].pidfd);
    }
    free(c->items);
    *c = (struct pc_children){0};
}
