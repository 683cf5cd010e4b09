/*
 * The socket directory and its lock.
 *
 * Invariant: a file named "lock" in a directory in use is locked. So it is locked under another name and then renamed, and
 * after a lock was taken its name is compared with what was opened, because another process may have removed it meanwhile.
 */

#include "socket_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK "lock"

enum { ABANDONED_SECONDS = 60 };

bool pc_instance_valid(const char *instance) {
    size_t n = strlen(instance);
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)instance[i]) && strchr("_-.", instance[i]) == NULL) {
            return false;
        }
    }
    return n > 0 && n <= PC_INSTANCE_MAX;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void pc_socket_dir_close(struct pc_socket_dir *d) {
    close_fd(&d->dir);
    close_fd(&d->lock);
}

static bool same_file(int fd, int dir, const char *name) {
    struct stat open_file, named;
    return fstat(fd, &open_file) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

/* Opens the directory d->name and checks that it is ours alone. */
static int open_dir(struct pc_socket_dir *d) {
    struct stat st;
    d->dir = openat(d->base, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->dir < 0 || fstat(d->dir, &st) < 0) {
        return -errno;
    }
    return st.st_uid == geteuid() && (st.st_mode & 022) == 0 ? 0 : -EPERM;
}

/* Of the directory itself: a cleaner of old files may take the lock's file away from under its owner. */
static int lock_dir(const struct pc_socket_dir *d) {
    return flock(d->dir, LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* Takes a lock that is there: 0, -EBUSY, -ENOENT or -errno. */
static int take_lock(struct pc_socket_dir *d) {
    d->lock = openat(d->dir, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (d->lock < 0) {
        return -errno;
    }
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    }
    return same_file(d->lock, d->dir, LOCK) ? 0 : -EBUSY;
}

static int make_lock(struct pc_socket_dir *d) {
    char name[32];
    snprintf(name, sizeof name, LOCK ".%ld", (long)getpid());
    d->lock = openat(d->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock < 0) {
        return -errno;
    }
    int rc = 0;
    /* link, unlike rename, does not replace what somebody else put there first. */
    if (flock(d->lock, LOCK_EX | LOCK_NB) < 0 || linkat(d->dir, name, d->dir, LOCK, 0) < 0) {
        rc = errno == EEXIST ? -EBUSY : -errno;
    }
    unlinkat(d->dir, name, 0);
    return rc;
}

/* Splits "<base>/<name>" and opens base. */
static int open_base(struct pc_socket_dir *d, const char *path) {
    char base[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof base || strlen(name) >= sizeof d->name) {
        return -ENAMETOOLONG;
    }
    memcpy(base, path, n);
    base[n] = '\0';
    memcpy(d->name, name, strlen(name) + 1);
    d->base = open(n > 0 ? base : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return d->base < 0 ? -errno : 0;
}

int pc_socket_dir_open(struct pc_socket_dir *d, const char *path, bool *stale) {
    *d = (struct pc_socket_dir){.base = -1, .dir = -1, .lock = -1};
    *stale = false;
    int rc = open_base(d, path);
    if (rc < 0) {
        goto done;
    }
    bool made = mkdirat(d->base, d->name, 0700) == 0;
    if (!made && errno != EEXIST) {
        rc = -errno;
        goto done;
    }
    rc = open_dir(d);
    if (rc < 0) {
        goto done;
    }
    rc = take_lock(d);
    *stale = rc == 0;
    if (rc == -ENOENT) {
        rc = make_lock(d);
    }
    if (rc == 0) {
        rc = lock_dir(d);
    }
done:
    if (rc < 0) {
        pc_socket_dir_close(d);
        close_fd(&d->base);
    }
    return rc;
}

static bool abandoned(int dir) {
    struct stat st;
    return fstat(dir, &st) == 0 && time(NULL) - st.st_mtime > ABANDONED_SECONDS;
}

bool pc_socket_dir_take_stale(struct pc_socket_dir *d, int base, const char *name) {
    *d = (struct pc_socket_dir){.base = base, .dir = -1, .lock = -1};
    if (strlen(name) >= sizeof d->name) {
        return false;
    }
    memcpy(d->name, name, strlen(name) + 1);
    int rc = open_dir(d);
    if (rc == 0) {
        rc = take_lock(d);
    }
    if (rc == 0 || (rc == -ENOENT && d->dir >= 0 && abandoned(d->dir) && lock_dir(d) == 0)) {
        return true;
    }
    pc_socket_dir_close(d);
    return false;
}

void pc_socket_dir_remove(struct pc_socket_dir *d) {
    int copy = fcntl(d->dir, F_DUPFD_CLOEXEC, 0);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL) {
        close_fd(&copy);
        return;
    }
    struct dirent *entry;
    rewinddir(entries);
    while ((entry = readdir(entries)) != NULL) {
        if (strcmp(entry->d_name, LOCK) != 0 && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(d->dir, entry->d_name, 0);
        }
    }
    closedir(entries);
    if (d->lock >= 0) {
        unlinkat(d->dir, LOCK, 0);
    }
    if (same_file(d->dir, d->base, d->name)) {
        unlinkat(d->base, d->name, AT_REMOVEDIR);
    }
}
