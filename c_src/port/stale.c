/*
 * What an earlier guard and port left behind when both were killed at once: processes that carry their instance's mark,
 * and their directory. A pid is looked at twice, before and after a pidfd pins it, and is signalled through that.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"
#include "signals.h"
#include "sweep.h"

/* How long killed processes are waited for, in all, and how many are waited for at a time. */
enum { PATIENCE_MS = 1000, BATCH = 64 };

struct hunt {
    const char *instance;
    nfds_t killed;
    bool failed; /* one is there that cannot be signalled */
    struct pollfd gone[BATCH];
};

static bool ours(pid_t pid, const char *instance) {
    uid_t uid;
    uint32_t wid;
    return pc_os_process_uid(pid, &uid) == 0 && uid == geteuid() && pc_mark_read(pid, instance, &wid);
}

/* Pins the process, looks again, and kills it. Its pidfd, -ESRCH when it has gone or is another one by now, or -errno. */
static int kill_pinned(pid_t pid, const char *instance) {
    int pidfd = pc_os_pidfd_open(pid);
    if (pidfd < 0) {
        return pidfd;
    }
    int rc = ours(pid, instance) ? pc_os_pidfd_signal(pidfd, SIGKILL) : -ESRCH;
    if (rc < 0) {
        close(pidfd);
        return rc;
    }
    return pidfd;
}

static bool hunt_one(pid_t pid, void *context) {
    struct hunt *hunt = context;
    if (pid == getpid() || !ours(pid, hunt->instance)) {
        return true;
    }
    int pidfd = kill_pinned(pid, hunt->instance);
    if (pidfd >= 0) {
        hunt->gone[hunt->killed++] = (struct pollfd){.fd = pidfd, .events = POLLIN};
    } else if (pidfd != -ESRCH) {
        hunt->failed = true;
    }
    return hunt->killed < BATCH;
}

/* Waits until every one has ended or time is up, and closes the pidfds. */
static void await(struct hunt *hunt, int64_t deadline) {
    for (nfds_t i = 0; i < hunt->killed; i++) {
        for (int64_t left; hunt->gone[i].revents == 0 && (left = deadline - pc_now_ms()) > 0;) {
            pc_signals_poll(&hunt->gone[i], 1, left);
        }
        close(hunt->gone[i].fd);
    }
}

bool pc_sweep_instance(const char *instance) {
    int64_t deadline = pc_now_ms() + PATIENCE_MS;
    struct hunt hunt = {.instance = instance};
    do {
        hunt.killed = 0;
        pc_os_each_process(hunt_one, &hunt);
        await(&hunt, deadline);
    } while (hunt.killed > 0 && pc_now_ms() < deadline);
    return hunt.killed == 0 && !hunt.failed;
}

void pc_sweep_stale(const struct pc_socket_dir *own) {
    const size_t prefix = sizeof PC_SOCKET_DIR_PREFIX - 1;
    int copy = openat(own->base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL) {
        if (copy >= 0) {
            close(copy);
        }
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        struct pc_socket_dir stale;
        const char *instance = entry->d_name + prefix;
        if (strncmp(entry->d_name, PC_SOCKET_DIR_PREFIX, prefix) != 0 || strcmp(entry->d_name, own->name) == 0 ||
            !pc_instance_valid(instance) || !pc_socket_dir_take_stale(&stale, own->base, entry->d_name)) {
            continue;
        }
        if (pc_sweep_instance(instance)) {
            pc_socket_dir_remove(&stale);
        }
        pc_socket_dir_close(&stale);
    }
    closedir(entries);
}
