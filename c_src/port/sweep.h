#ifndef PC_PORT_SWEEP_H
#define PC_PORT_SWEEP_H

/*
 * Finding and killing what must not live on: children of this process, adopted ones included, and processes that carry an
 * instance's mark. Signals go to children that have not been waited for, whose pids cannot be reused, or through pidfds.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "socket_dir.h"

/* The environment entry that says whose a process is: "PITCREW_INSTANCE=<instance>-<wid as 8 hex digits>". */
#define PC_MARK_NAME "PITCREW_INSTANCE="
enum { PC_MARK_MAX = PC_INSTANCE_MAX + 1 + 8 };

/* Whether the process carries a mark of this instance; *wid says which. */
bool pc_mark_read(pid_t pid, const char *instance, uint32_t *wid);

/* SIGKILL to every child now; they are not waited for. */
void pc_sweep_kill_children(void);

/*
 * The next child that has ended, still a zombie: its pid, 0 when none has ended, -1 when there is no child at all.
 * pc_sweep_reap then waits for that one and gives its status and rusage (may be NULL).
 */
pid_t pc_sweep_next(void);
void pc_sweep_reap(pid_t pid, int *status, struct rusage *usage);

/* Whether a child that has not been waited for is stopped, as by SIGSTOP. */
bool pc_sweep_stopped(pid_t pid);

/* Kills and reaps until there is no child. Blocks; `status` of the child `watch` is kept if it is among them. */
void pc_sweep_all(pid_t watch, int *status);

/* Kills every process of this user that carries the instance's mark; true when, within a second, none is left. */
bool pc_sweep_instance(const char *instance);

/*
 * Takes the stale directories beside `own` one by one: kills what carries their instance's mark, then removes them.
 * A directory whose processes cannot be killed stays for the next start; one in use, or of another user, is left alone.
 */
void pc_sweep_stale(const struct pc_socket_dir *own);

#endif
