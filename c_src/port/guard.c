/*
 * The guard. Its only child is the port, until that dies: then everything below the port becomes the guard's. A port that is stopped
 * can do nothing of what it is for, and is killed; SIGCHLD says when it stops and goes on.
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

/* What the port gets to finish beyond the grace that it gives others, and how long it may be stopped. */
enum { PATIENCE_MS = 300, STOPPED_MS = 1000 };

/* 0 while it runs: waits without reaping, for the sweep reaps. */
static bool port_ended(pid_t port) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)port, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == port;
}

/* Until the earlier of two times, of which 0 is never; -1 when both are. */
static int64_t time_left(int64_t now, int64_t a, int64_t b) {
    int64_t at = a == 0 || (b != 0 && b < a) ? b : a;
    return at == 0 ? -1 : at > now ? at - now : 0;
}

int pc_guard_run(pid_t port) {
    /* No events are asked for: POLLHUP comes unasked. */
    struct pollfd vm = {.fd = STDIN_FILENO};
    int64_t deadline = 0, suspended_until = 0;
    int status = 0;
    while (!port_ended(port)) {
        int64_t now = pc_now_ms();
        suspended_until = !pc_sweep_stopped(port) ? 0 : suspended_until != 0 ? suspended_until : now + STOPPED_MS;
        int64_t left = time_left(now, deadline, suspended_until);
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
