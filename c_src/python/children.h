#ifndef PC_PYTHON_CHILDREN_H
#define PC_PYTHON_CHILDREN_H

/*
 * The workers of a zygote. An exit is learned from the pidfd, which becomes readable when the process is a zombie: no signal handler,
 * so user code that plays with SIGCHLD, or threads of libraries, change nothing. No Python here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pc_child {
    pid_t pid;
    uint32_t wid;
    int pidfd;
};

struct pc_children {
    struct pc_child *items;
    size_t count, room;
};

struct pc_child_exit {
    pid_t pid;
    uint32_t wid;
    bool by_signal;
    int code; /* status or signal */
    int64_t utime_us, stime_us, maxrss_kb;
};

/* Makes sure that one more can be added; before the fork, so that a child is never unaccounted for. */
bool pc_children_reserve(struct pc_children *c);

/* Takes the pidfd over. Room has been reserved. */
void pc_children_add(struct pc_children *c, pid_t pid, uint32_t wid, int pidfd);

/*
 * If the child at `index` is a zombie: kills its process group while the pid is still taken, reaps it, removes it (the last one
 * moves to its place), and returns true.
 */
bool pc_children_reap(struct pc_children *c, size_t index, struct pc_child_exit *exit);

/* Kills and reaps a child that is in no table, and closes its pidfd (or -1). */
void pc_child_discard(pid_t pid, int pidfd);

/* In a forked child: closes the descriptors and forgets all. */
void pc_children_forget(struct pc_children *c);

#endif
