#ifndef PC_PORT_ZYGOTE_H
#define PC_PORT_ZYGOTE_H

/* Zygotes: children of the port. Every one that the VM asks for ends with exactly one "gone". */

#include "launch.h"
#include "port.h"

/* NULL when there is none, or its "gone" is out. */
struct pc_zygote *pc_zygote_by_zid(struct pc_port *p, uint64_t zid);

/* By the pid of one that has not been reaped. */
struct pc_zygote *pc_zygote_by_pid(struct pc_port *p, pid_t pid);
bool pc_zygote_alive(const struct pc_port *p);

/* Starts one; the launch stays the caller's. Whatever goes wrong is reported as "failed". */
void pc_zygote_start(struct pc_port *p, uint32_t zid, struct pc_launch *launch);

/* The program runs, or could not be executed. */
void pc_zygote_report(struct pc_port *p, struct pc_zygote *z);

void pc_zygote_signal(struct pc_zygote *z, int signal);
void pc_zygote_signal_all(struct pc_port *p, int signal);

/* Tells those that have no workers left to go. */
void pc_zygote_dismiss_idle(struct pc_port *p);

/* It has been reaped. Its workers are on their way out; those that nobody can wait for any more are reported here. */
void pc_zygote_ended(struct pc_port *p, struct pc_zygote *z, int status);

/* Reports "gone" for those that have ended and whose workers all have; kills those that closed their link and stay. */
void pc_zygote_settle(struct pc_port *p, int64_t now);
void pc_zygote_collect(struct pc_port *p);

#endif
