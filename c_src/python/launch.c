/* See launch.h. */

#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mark.h"
#include "os/os.h"

enum { FIRST_FD = 10, PAYLOAD_FD = 3, OOM_ADJUSTMENT = 800, EXIT_ORPHAN = 125, EXIT_EXEC = 127 };

static const int taken[PC_LAUNCH_SIGNALS] = {SIGTERM, SIGINT, SIGCHLD};

void pc_inherited_take(struct pc_inherited *inherited) {
    for (int i = 0; i < PC_LAUNCH_SIGNALS; i++) {
        struct sigaction action = {.sa_handler = taken[i] == SIGINT ? SIG_IGN : SIG_DFL};
        (void)sigaction(taken[i], &action, &inherited->signals[i]);
    }
    (void)getrlimit(RLIMIT_NOFILE, &inherited->descriptors);
    struct rlimit most = {.rlim_cur = inherited->descriptors.rlim_max, .rlim_max = inherited->descriptors.rlim_max};
    (void)setrlimit(RLIMIT_NOFILE, &most);
}

void pc_inherited_restore(const struct pc_inherited *inherited) {
    for (int i = 0; i < PC_LAUNCH_SIGNALS; i++) {
        (void)sigaction(taken[i], &inherited->signals[i], NULL);
    }
    (void)setrlimit(RLIMIT_NOFILE, &inherited->descriptors);
}

bool pc_exec_prepare(struct pc_exec *x, uint32_t wid) {
    size_t n = 0, at = 0;
    while (environ[n] != NULL) {
        n++;
    }
    x->envp = calloc(n + 1, sizeof *x->envp);
    x->mark = NULL;
    for (size_t i = 0; x->envp != NULL && i < n; i++) {
        x->envp[at++] = environ[i];
        if (strncmp(environ[i], PC_MARK_NAME "=", sizeof PC_MARK_NAME) == 0 && strlen(environ[i]) > PC_MARK_DIGITS) {
            free(x->mark);
            x->mark = strdup(environ[i]);
            if (x->mark == NULL) {
                break;
            }
            pc_mark_digits(x->mark + strlen(x->mark) - PC_MARK_DIGITS, wid);
            x->envp[at - 1] = x->mark;
        }
    }
    if (x->mark == NULL) {
        pc_exec_clear(x);
        return false;
    }
    return true;
}

void pc_exec_clear(struct pc_exec *x) {
    free(x->envp);
    free(x->mark);
    x->envp = NULL;
    x->mark = NULL;
}

/* Moves a descriptor up; closes the old one. */
static int raise_fd(int fd) {
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
    int error = errno;
    (void)close(fd);
    return high < 0 ? -error : high;
}

static int open_pipe(int pair[2]) {
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        int high = raise_fd(low[i]);
        if (high < 0) {
            if (i == 0) {
                (void)close(low[1]);
            }
            return high;
        }
        pair[i] = high;
    }
    return 0;
}

/* The pipe's read end, with everything in it already: nobody has to wait for anybody. */
static int open_payload(const void *payload, size_t n) {
    int pair[2] = {-1, -1};
    int error = open_pipe(pair);
    if (error == 0 && (fcntl(pair[1], F_SETFL, O_NONBLOCK) < 0 || write(pair[1], payload, n) != (ssize_t)n)) {
        error = -EMSGSIZE;
    }
    if (pair[1] >= 0) {
        (void)close(pair[1]);
    }
    if (error != 0 && pair[0] >= 0) {
        (void)close(pair[0]);
    }
    return error == 0 ? pair[0] : error;
}

static int open_all(struct pc_launch_fds *f, const void *payload, size_t n) {
    int error = open_pipe(f->out);
    if (error == 0) {
        error = open_pipe(f->err);
    }
    if (error == 0) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        f->null = fd < 0 ? -errno : raise_fd(fd);
        error = f->null < 0 ? f->null : 0;
    }
    if (error == 0 && payload != NULL) {
        f->payload = open_payload(payload, n);
        error = f->payload < 0 ? f->payload : 0;
    }
    return error;
}

int pc_launch_fds_open(struct pc_launch_fds *f, const void *payload, size_t n) {
    *f = (struct pc_launch_fds){.null = -1, .out = {-1, -1}, .err = {-1, -1}, .payload = -1};
    int error = open_all(f, payload, n);
    if (error != 0) {
        pc_launch_fds_close(f);
    }
    return error;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

void pc_launch_fds_close(struct pc_launch_fds *f) {
    close_fd(&f->null);
    close_fd(&f->out[0]);
    close_fd(&f->out[1]);
    close_fd(&f->err[0]);
    close_fd(&f->err[1]);
    close_fd(&f->payload);
}

void pc_launch_child(const struct pc_launch_fds *f, const struct pc_inherited *i, pid_t zygote, uint32_t wid) {
    (void)pc_os_set_parent_death_signal(SIGKILL);
    if (getppid() != zygote) {
        _exit(EXIT_ORPHAN);
    }
    (void)setpgid(0, 0);
    (void)pc_os_raise_oom_score(OOM_ADJUSTMENT);
    pc_mark_set(wid);
    if (dup2(f->null, STDIN_FILENO) < 0 || dup2(f->out[1], STDOUT_FILENO) < 0 || dup2(f->err[1], STDERR_FILENO) < 0 ||
        (f->payload >= 0 && dup2(f->payload, PAYLOAD_FD) < 0)) {
        _exit(EXIT_ORPHAN);
    }
    pc_inherited_restore(i);
}

_Noreturn void pc_launch_exec(const struct pc_exec *x) {
    static const char message[] = "pitcrew: the interpreter could not be executed again: ";
    (void)execve(x->argv[0], x->argv, x->envp);
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    (void)!write(STDERR_FILENO, x->argv[0], strlen(x->argv[0]));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(EXIT_EXEC);
}
