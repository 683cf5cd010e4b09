/* Killing children. See stale.c for processes of other instances. */

#include "sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "os/os.h"
#include "signals.h"

/* A child that came between two looks is found at the next one. */
enum { LOOK_MS = 20 };

bool pc_mark_read(pid_t pid, const char *instance, uint32_t *wid) {
    char value[PC_MARK_MAX + 1];
    size_t n = strlen(instance);
    if (pc_os_process_env(pid, PC_MARK_NAME, value, sizeof value) < 0) {
        return false;
    }
    if (strncmp(value, instance, n) != 0 || value[n] != '-' || strspn(value + n + 1, "0123456789abcdef") != 8 ||
        value[n + 9] != '\0') {
        return false;
    }
    *wid = (uint32_t)strtoul(value + n + 1, NULL, 16);
    return true;
}

static bool kill_child(pid_t pid, void *context) {
    (void)context;
    kill(pid, SIGKILL);
    return true;
}

void pc_sweep_kill_children(void) { pc_os_each_child(kill_child, NULL); }

pid_t pc_sweep_next(void) {
    siginfo_t info = {0};
    int rc;
    do {
        rc = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -1 : info.si_pid;
}

void pc_sweep_reap(pid_t pid, int *status, struct rusage *usage) {
    while (wait4(pid, status, 0, usage) < 0 && errno == EINTR) {}
}

bool pc_sweep_stopped(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

void pc_sweep_all(pid_t watch, int *status) {
    for (;;) {
        pc_sweep_kill_children();
        pid_t pid;
        while ((pid = pc_sweep_next()) > 0) {
            int how;
            /* Its group too, while the zombie keeps the number from being used again. */
            kill(-pid, SIGKILL);
            pc_sweep_reap(pid, &how, NULL);
            if (pid == watch) {
                *status = how;
            }
        }
        if (pid < 0) {
            return;
        }
        pc_signals_poll(NULL, 0, LOOK_MS);
    }
}
