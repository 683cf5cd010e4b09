/*
 * The guard. Its only child is the port, until that dies: then everything below the port becomes the guard's.
 */

#include "guard.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "port.h"
#include "signals.h"
#include "sweep.h"

/* What the port gets to finish beyond the grace that it gives others. */
enum { PATIENCE_MS = 300 };

/* 0 while it runs: waits without reaping, for the sweep reaps. */
static bool port_ended(pid_t port) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)port, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == port;
}

int pc_guard_run(pid_t port) {
    /* No events are asked for: POLLHUP comes unasked. */
    struct pollfd vm = {.fd = STDIN_FILENO};
    int64_t deadline = 0;
    int status = 0;
    while (!port_ended(port)) {
        int64_t now = pc_now_ms();
        int64_t left = deadline == 0 ? -1 : deadline > now ? deadline - now : 0;
        if (left == 0) {
            kill(port, SIGKILL);
            left = PATIENCE_MS;
        }
        pc_signals_poll(&vm, 1, left);
        bool stop = pc_signals_take_stop();
        if (stop) {
            kill(port, SIGTERM);
        }
        if ((stop || vm.revents != 0) && deadline == 0) {
            deadline = pc_now_ms() + PC_GRACE_MS + PATIENCE_MS;
        }
        if (vm.revents != 0) {
            /* A negative descriptor is passed over: it would be ready for ever. */
            vm.fd = -1;
        }
    }
    pc_sweep_all(port, &status);
    return WIFSIGNALED(status) ? PC_EXIT_SIGNAL_BASE + WTERMSIG(status) : WEXITSTATUS(status);
}
