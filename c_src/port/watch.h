#ifndef PC_PORT_WATCH_H
#define PC_PORT_WATCH_H

/*
 * Zygotes that do not answer. One that is stopped, or stuck in a fork hook of the user's, would hide the deaths of its workers
 * and leave requests open for ever. It is killed, and whoever wants another one starts it.
 */

#include "port.h"

/* A packet came from it. */
void pc_watch_heard(struct pc_zygote *z);

/* Looks at those that owe an answer, and kills those that have owed it too long. `look_at` says when to come back. */
void pc_watch_settle(struct pc_port *p, int64_t now);

#endif
