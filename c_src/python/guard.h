#ifndef PC_PYTHON_GUARD_H
#define PC_PYTHON_GUARD_H

/*
 * A process that a start hook or a tool forks must neither hold the worker's sockets (end of file would come late) nor answer on
 * them. pthread_atfork closes them in the child before any code of the user's runs, also when the fork is made by a C library
 * that knows nothing of Python, and by multiprocessing. What a child executes loses them by close-on-exec.
 *
 * No Python here: the handler runs between fork and its return.
 */

#include <stdbool.h>

/*
 * From now on a fork closes this socket in the child: as soon as it is connected. It may be closed here before that; another file
 * with its number is left alone. A worker has three, its newest count. 0 or -errno.
 */
int pc_guard_hold(int fd);

/* They are being served: 0 or -errno. */
int pc_guard_arm(int call_fd, int side_fd);

/* The sockets are no longer served. */
void pc_guard_disarm(void);

/* Whether this process serves. */
bool pc_guard_armed(void);

/*
 * Grows with each fork of this process, before and after it: what was there at two moments of one number is in no child. 0 until
 * a socket is held.
 */
unsigned long pc_guard_forks(void);

/* Whether this process was forked by one that held sockets. It stays so. */
bool pc_guard_forked(void);

#endif
