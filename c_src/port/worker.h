#ifndef PC_PORT_WORKER_H
#define PC_PORT_WORKER_H

/* Workers: asked for, there, ended. Signals reach them through pidfds only. */

#include "messages.h"
#include "port.h"

/* NULL when there is none, or its end is out. */
struct pc_worker *pc_worker_by_wid(struct pc_port *p, uint32_t wid);
struct pc_worker *pc_worker_by_pid(struct pc_port *p, pid_t pid);

/* Whether the zygote has workers, there or asked for. */
bool pc_worker_any(const struct pc_port *p, const struct pc_zygote *z);

/* Asks a zygote for a worker; answers fork_failed when that cannot be. */
void pc_worker_request(struct pc_port *p, uint64_t zid, uint32_t wid, const uint8_t *payload, size_t n);

/* The zygote has made it. Takes the three descriptors (pidfd, stdout, stderr) over. False: nobody asked for it. */
bool pc_worker_forked(struct pc_port *p, struct pc_zygote *z, uint32_t wid, pid_t pid, const int fds[3]);
void pc_worker_fork_failed(struct pc_port *p, struct pc_worker *w, const char *message, size_t n);

/* One that is only asked for gets the signal when it is there. */
void pc_worker_signal(struct pc_worker *w, int signal);
void pc_worker_signal_all(struct pc_port *p, int signal);

/* Tells what the system says of a worker that runs: nothing of one that does not, or that has ended meanwhile. */
void pc_worker_tell_vitals(struct pc_port *p, const struct pc_worker *w);

/* Reports the end, takes the last output, has orphans looked for. */
void pc_worker_exited(struct pc_port *p, struct pc_worker *w, const struct pc_end *end);

/* Frees those whose end is out. */
void pc_worker_collect(struct pc_port *p);

/* Kills the port's adopted children that carry the mark of a worker that has ended, or of zygotes when none is left. */
void pc_worker_kill_orphans(struct pc_port *p);

#endif
