#ifndef PC_OS_H
#define PC_OS_H

/*
 * Calls that only Linux has. os_linux.c implements them; os_portable.c is the twin for other systems, where the
 * promise about daemons is weaker. All return 0 or a descriptor, or -errno. None allocates; all are async-signal-safe.
 */

#include <sys/types.h>

/* Have the kernel send `signal` to this process when the *thread* that forked it goes; -errno. */
int pc_os_set_parent_death_signal(int signal);

/* Orphaned descendants become children of this process. */
int pc_os_become_subreaper(void);

/* A descriptor (close-on-exec) that names the process whatever happens to its pid. */
int pc_os_pidfd_open(pid_t pid);
int pc_os_pidfd_signal(int pidfd, int signal);

/* Makes this process a better candidate for the out-of-memory killer by `adjustment` (0..1000). */
int pc_os_raise_oom_score(int adjustment);

/* Who is at the other end of a unix socket. */
int pc_os_peer(int socket, pid_t *pid, uid_t *uid, gid_t *gid);

#endif
