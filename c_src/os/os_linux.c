/*
 * os.h for Linux 5.4 and later, but for shared memory: that is in os_linux_memory.c. System calls are made by number where an older C library lacks a wrapper.
 * The first half must stay async-signal-safe: no stdio, no allocation.
 */

#include "os_linux.h"
#include "os.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc names it from 2.36 on. */
enum { WAIT_PIDFD = 3 };

static int result(long rc) { return rc < 0 ? -errno : (int)rc; }

int pc_os_set_parent_death_signal(int signal) { return result(prctl(PR_SET_PDEATHSIG, signal)); }

int pc_os_become_subreaper(void) { return result(prctl(PR_SET_CHILD_SUBREAPER, 1)); }

int pc_os_pidfd_open(pid_t pid) { return result(syscall(SYS_pidfd_open, pid, 0)); }

int pc_os_pidfd_signal(int pidfd, int signal) { return result(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0)); }

int pc_os_pidfd_is_child(int pidfd) {
    siginfo_t info;
    if (waitid((idtype_t)WAIT_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        return 1;
    }
    return errno == ECHILD ? 0 : -errno;
}

int pc_os_alarm(void) { return result(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)); }

int pc_os_alarm_set(int alarm, int milliseconds) {
    struct itimerspec when = {.it_value = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L}};
    return result(timerfd_settime(alarm, 0, &when, NULL));
}

static ssize_t read_retry(int fd, char *buffer, size_t size) {
    ssize_t n;
    do {
        n = read(fd, buffer, size);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* The score is between -1000 and 1000; an ordinary process may raise its own. */
int pc_os_raise_oom_score(int adjustment) {
    char text[16] = {0};
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    ssize_t n = read_retry(fd, text, sizeof text - 1);
    if (n < 0) {
        rc = -errno;
        goto done;
    }
    bool negative = text[0] == '-';
    int now = 0;
    for (const char *p = text + (negative ? 1 : 0); *p >= '0' && *p <= '9'; p++) {
        now = now * 10 + (*p - '0');
    }
    int wanted = (negative ? -now : now) + adjustment;
    if (wanted > 1000) {
        wanted = 1000;
    }
    unsigned rest = (unsigned)(wanted < 0 ? -wanted : wanted);
    char *p = text + sizeof text;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (wanted < 0) {
        *--p = '-';
    }
    if (pwrite(fd, p, (size_t)(text + sizeof text - p), 0) < 0) {
        rc = -errno;
    }
done:
    close(fd);
    return rc;
}

/* Kibibytes behind a name at the beginning of a line. */
static uint64_t kibibytes(const char *text, const char *name) {
    const char *p = strstr(text, name);
    uint64_t n = 0;
    if (p != NULL) {
        for (p += strlen(name); *p == ' '; p++) {}
        for (; *p >= '0' && *p <= '9'; p++) {
            n = n * 10 + (uint64_t)(*p - '0');
        }
    }
    return n;
}

/* Opened each time: a descriptor that is kept would be one more that a tool may close. */
int pc_os_private_memory(uint64_t *bytes) {
    char text[2048]; /* the kernel writes some 800 */
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read_retry(fd, text, sizeof text - 1);
    int rc = n < 0 ? -errno : 0;
    close(fd);
    if (rc == 0) {
        text[n] = '\0';
        *bytes = 1024 * (kibibytes(text, "\nPrivate_Clean:") + kibibytes(text, "\nPrivate_Dirty:") +
                         kibibytes(text, "\nSwapPss:"));
    }
    return rc;
}

int pc_os_peer(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return -errno;
    }
    *pid = peer.pid;
    *uid = peer.uid;
    *gid = peer.gid;
    return 0;
}

int pc_os_stack(void **lowest, size_t *size) {
    pthread_attr_t attr;
    int error = pthread_getattr_np(pthread_self(), &attr);
    if (error == 0) {
        error = pthread_attr_getstack(&attr, lowest, size);
        (void)pthread_attr_destroy(&attr);
    }
    return -error;
}

/* ---- Looking at processes. */

static pid_t parent_of(pid_t pid) {
    char text[PC_LINUX_STAT];
    const char *fields;
    int parent = -1;
    return pc_linux_stat(pid, text, &fields) == 0 && sscanf(fields, " %*c %d", &parent) == 1 ? (pid_t)parent : -1;
}

struct child_filter {
    pc_os_pid_fn visit;
    void *context;
    pid_t parent;
};

static bool visit_if_child(pid_t pid, void *context) {
    const struct child_filter *filter = context;
    return parent_of(pid) != filter->parent || filter->visit(pid, filter->context);
}

int pc_os_each_child(pc_os_pid_fn visit, void *context) {
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        /* A kernel without CONFIG_PROC_CHILDREN. */
        struct child_filter filter = {visit, context, getpid()};
        return pc_os_each_process(visit_if_child, &filter);
    }
    char text[4096];
    ssize_t n;
    long pid = 0;
    while ((n = read_retry(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid != 0) {
                bool more = visit((pid_t)pid, context);
                pid = 0;
                if (!more) {
                    goto done;
                }
            }
        }
    }
    if (pid != 0) {
        visit((pid_t)pid, context);
    }
done:
    n = n < 0 ? -errno : 0;
    close(fd);
    return (int)n;
}

int pc_os_each_process(pc_os_pid_fn visit, void *context) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return -errno;
    }
    struct dirent *entry;
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        if (!visit((pid_t)strtol(entry->d_name, NULL, 10), context)) {
            break;
        }
    }
    closedir(proc);
    return 0;
}

int pc_os_process_uid(pid_t pid, uid_t *uid) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &st) < 0) {
        return -errno;
    }
    *uid = st.st_uid;
    return 0;
}

/* Reads in pieces, for an environment may be megabytes. `at` counts matched bytes of the prefix, or is SKIP until the next entry. */
int pc_os_process_env(pid_t pid, const char *prefix, char *value, size_t size) {
    enum { PIECE = 4096 };
    const size_t skip = SIZE_MAX;
    const size_t length = strlen(prefix);
    char path[64];
    char text[PIECE];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = -ENOENT;
    size_t at = 0;
    size_t copied = 0;
    ssize_t n;
    while ((n = read_retry(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            char c = text[i];
            if (at == length) {
                if (copied == size) {
                    rc = -ENAMETOOLONG;
                    goto done;
                }
                value[copied++] = c;
                if (c == '\0') {
                    rc = 0;
                    goto done;
                }
            } else if (c == '\0') {
                at = 0;
            } else if (at != skip) {
                at = c == prefix[at] ? at + 1 : skip;
            }
        }
    }
    if (n < 0) {
        rc = -errno;
    }
done:
    close(fd);
    return rc;
}
