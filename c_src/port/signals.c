/* Signals and the clock. A handler sets a flag at most. */

#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "wire/clock.h"

static volatile sig_atomic_t stop_came;

static void on_signal(int signal) {
    if (signal != SIGCHLD) {
        stop_came = 1;
    }
}

static void set_all_default(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++) {
        /* Refused for SIGKILL, SIGSTOP and those the C library keeps. */
        sigaction(signal, &action, NULL);
    }
}

void pc_signals_init(void) {
    static const int handled[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) {
        sigaddset(&blocked, handled[i]);
    }
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    set_all_default();
    struct sigaction action = {.sa_handler = on_signal};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++) {
        sigaction(handled[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

void pc_signals_reset(void) {
    sigset_t none;
    set_all_default();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int pc_signals_poll(struct pollfd *fds, nfds_t n, int64_t timeout_ms) {
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ms / 1000), .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    sigset_t none;
    sigemptyset(&none);
    if (ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, &none) >= 0) {
        return 0;
    }
    for (nfds_t i = 0; i < n; i++) {
        fds[i].revents = 0;
    }
    return errno == EINTR || errno == EAGAIN ? 0 : -errno;
}

bool pc_signals_take_stop(void) {
    /* Handlers run only inside ppoll, so nothing comes between. */
    bool came = stop_came != 0;
    stop_came = 0;
    return came;
}

int64_t pc_now_ms(void) { return pc_clock_ns() / 1000000; }
