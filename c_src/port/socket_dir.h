#ifndef PC_PORT_SOCKET_DIR_H
#define PC_PORT_SOCKET_DIR_H

/*
 * The private directory `<base>/pitcrew.<instance>` and the lock in it that says "in use". The lock lasts as long as any
 * process holds its descriptor, which crosses fork but not exec.
 */

#include <limits.h>
#include <stdbool.h>

#define PC_SOCKET_DIR_PREFIX "pitcrew."

/* Longest instance; it has letters, digits, '_', '-' and '.' only. */
enum { PC_INSTANCE_MAX = 64 };

struct pc_socket_dir {
    int base; /* descriptor of the folder that holds it */
    int dir;
    int lock;
    char name[sizeof PC_SOCKET_DIR_PREFIX + PC_INSTANCE_MAX]; /* inside base */
};

bool pc_instance_valid(const char *instance);

/*
 * Makes the directory (mode 0700) unless it is there, checks that nobody else owns it or may write to it, and takes the lock.
 * *stale: a lock was there and its owner is gone. Returns 0, -EBUSY when somebody holds the lock, -EPERM when the directory is
 * not ours alone, or -errno.
 */
int pc_socket_dir_open(struct pc_socket_dir *d, const char *path, bool *stale);

/*
 * Opens a directory that is there already, by its name in a base, and takes its lock if it is stale. A directory without a
 * lock is stale when it has not changed for a minute: somebody may just be making it. Returns whether it now is ours.
 */
bool pc_socket_dir_take_stale(struct pc_socket_dir *d, int base, const char *name);

/* Removes the files in it, the lock last, and the directory. A folder inside it is not ours, and stays. */
void pc_socket_dir_remove(struct pc_socket_dir *d);

/* Closes the descriptors, which gives the lock up, but for base. */
void pc_socket_dir_close(struct pc_socket_dir *d);

#endif
