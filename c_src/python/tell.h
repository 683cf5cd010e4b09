#ifndef PC_PYTHON_TELL_H
#define PC_PYTHON_TELL_H

/* The zygote's packets (docs/protocol.md section 6), appended to the queue. No Python here. */

#include "children.h"
#include "launch.h"
#include "packets.h"

void pc_tell_fork_failed(struct pc_packets *q, uint32_t wid, const char *message);
void pc_tell_exit(struct pc_packets *q, const struct pc_child_exit *e);

/* Takes over pidfd and the read ends of the pipes, which become -1 in f. */
void pc_tell_forked(struct pc_packets *q, uint32_t wid, pid_t pid, int pidfd, struct pc_launch_fds *f);

#endif
