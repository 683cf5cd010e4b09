#ifndef PC_PYTHON_LAUNCH_H
#define PC_PYTHON_LAUNCH_H

/*
 * The moment around fork(2): what a worker gets before the fork, and what it does first after it. Only system calls after
 * the fork, so that it is safe beside threads (mode spawn). No Python here.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { PC_LAUNCH_SIGNALS = 3 };

/* What the zygote replaces while it loops, and workers get back. */
struct pc_inherited {
    struct sigaction signals[PC_LAUNCH_SIGNALS];
    struct rlimit descriptors;
};

/*
 * SIGTERM ends the zygote, SIGINT (a terminal's) does not, SIGCHLD never makes the kernel reap for us; and descriptors, one for each
 * worker, as many as are allowed.
 */
void pc_inherited_take(struct pc_inherited *i);
void pc_inherited_restore(const struct pc_inherited *i);

/* argv and envp of a worker that is to be executed anew. envp borrows from environ; rebuilt for each worker. */
struct pc_exec {
    char **argv; /* ends with NULL; argv[0] is what is executed. The caller's */
    char **envp;
    char *mark; /* PITCREW_INSTANCE=…, as in envp */
};

bool pc_exec_prepare(struct pc_exec *x, uint32_t wid);
void pc_exec_clear(struct pc_exec *x);

/* Descriptors of one launch: -1 or open, all close-on-exec and above 9, so that dup2 onto 0..3 overwrites none of them. */
struct pc_launch_fds {
    int null;
    int out[2], err[2];
    int payload; /* spawn: a pipe that holds the payload */
};

/* 0 or -errno; then everything is closed again. `payload` (NULL: no pipe) has to fit into a pipe. */
int pc_launch_fds_open(struct pc_launch_fds *f, const void *payload, size_t n);
void pc_launch_fds_close(struct pc_launch_fds *f);

/*
 * In the child: death signal (or _exit if the zygote is gone already), group, oom score, descriptors 0 to 2 (and 3), and what is
 * to be restored. Does not close anything above.
 */
void pc_launch_child(const struct pc_launch_fds *f, const struct pc_inherited *i, pid_t zygote, uint32_t wid);

/* After pc_launch_child. Does not return. */
_Noreturn void pc_launch_exec(const struct pc_exec *x);

#endif
