/*
 * fork and exec of a zygote. Between the two: async-signal-safe calls only, no allocation, and every way out of the child is
 * _exit. All signals are blocked across the fork so that no handler of the port runs in the child.
 */

#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "memory.h"
#include "os/os.h"
#include "signals.h"

extern char **environ;

/* Room for the largest packet either way. */
enum { LINK_BUFFER = 256 * 1024, EXIT_NOT_STARTED = 127 };

static struct rlimit inherited_descriptors;

static void strings_add(struct pc_strings *s, char *text) {
    s->items = pc_realloc(s->items, s->count + 2, sizeof *s->items);
    s->items[s->count++] = text;
    s->items[s->count] = NULL;
}

static void strings_destroy(struct pc_strings *s) {
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i]);
    }
    free(s->items);
}

static bool has_nul(struct pc_launch *l, const char *text, size_t n) {
    if (n > 0 && memchr(text, '\0', n) != NULL) {
        l->problem = "an argument, a name or value of the environment, or the folder holds a NUL character";
        return true;
    }
    return false;
}

void pc_launch_init(struct pc_launch *l) {
    memset(l, 0, sizeof *l);
    for (char **entry = environ; *entry != NULL; entry++) {
        strings_add(&l->env, pc_copy(*entry, strlen(*entry)));
    }
}

void pc_launch_destroy(struct pc_launch *l) {
    strings_destroy(&l->argv);
    strings_destroy(&l->env);
    strings_destroy(&l->paths);
    free(l->cd);
}

void pc_launch_arg(struct pc_launch *l, const char *text, size_t n) {
    if (!has_nul(l, text, n)) {
        strings_add(&l->argv, pc_copy(text, n));
    }
}

void pc_launch_cd(struct pc_launch *l, const char *text, size_t n) {
    if (!has_nul(l, text, n)) {
        free(l->cd);
        l->cd = pc_copy(text, n);
    }
}

void pc_launch_env(struct pc_launch *l, const char *name, size_t n, const char *value, size_t value_n) {
    if (has_nul(l, name, n) || has_nul(l, value, value_n)) {
        return;
    }
    if (n == 0 || memchr(name, '=', n) != NULL) {
        l->problem = "a name in the environment is empty or holds a '='";
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < l->env.count; i++) {
        char *entry = l->env.items[i];
        if (strncmp(entry, name, n) == 0 && entry[n] == '=') {
            free(entry);
        } else {
            l->env.items[kept++] = entry;
        }
    }
    l->env.count = kept;
    if (l->env.items != NULL) {
        l->env.items[kept] = NULL;
    }
    if (value != NULL) {
        char *entry = pc_alloc(n + value_n + 2);
        memcpy(entry, name, n);
        entry[n] = '=';
        memcpy(entry + n + 1, value, value_n);
        strings_add(&l->env, entry);
    }
}

/* The programs that execvpe would try. */
static void find_paths(struct pc_launch *l) {
    const char *program = l->argv.items[0];
    if (*program == '\0' || strchr(program, '/') != NULL) {
        strings_add(&l->paths, pc_copy(program, strlen(program)));
        return;
    }
    const char *path = "/usr/local/bin:/bin:/usr/bin";
    for (size_t i = 0; i < l->env.count; i++) {
        if (strncmp(l->env.items[i], "PATH=", 5) == 0) {
            path = l->env.items[i] + 5;
        }
    }
    for (const char *end;; path = end + 1) {
        end = strchrnul(path, ':');
        size_t n = (size_t)(end - path);
        char *candidate = pc_alloc(n + strlen(program) + 2);
        memcpy(candidate, path, n);
        /* An empty folder is the current one. */
        if (n > 0) {
            candidate[n++] = '/';
        }
        memcpy(candidate + n, program, strlen(program));
        strings_add(&l->paths, candidate);
        if (*end == '\0') {
            return;
        }
    }
}

/* Descriptors of a launch: the child's ends and the port's. -1 is closed. */
struct ends {
    int link[2];
    int report[2];
    int out[2];
    int err[2];
    int null;
};

static void close_all(int *fds, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
            fds[i] = -1;
        }
    }
}

static int open_ends(struct ends *e) {
    static const int size = LINK_BUFFER;
    memset(e, 0xFF, sizeof *e);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->link) < 0 || pipe2(e->report, O_CLOEXEC) < 0 ||
        pipe2(e->out, O_CLOEXEC) < 0 || pipe2(e->err, O_CLOEXEC) < 0) {
        return -errno;
    }
    e->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (e->null < 0) {
        return -errno;
    }
    const int mine[] = {e->link[0], e->report[0], e->out[0], e->err[0]};
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) {
        if (fcntl(mine[i], F_SETFL, O_NONBLOCK) < 0) {
            return -errno;
        }
    }
    setsockopt(e->link[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(e->link[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return 0;
}

static void child_fail(int report, bool cd, int error) {
    struct pc_launch_error failure;
    /* The padding too: all of it crosses. */
    memset(&failure, 0, sizeof failure);
    failure.cd = cd;
    failure.error = error;
    while (write(report, &failure, sizeof failure) < 0 && errno == EINTR) {}
    _exit(EXIT_NOT_STARTED);
}

/* Tries each path; like execvpe, a program that may not be run counts only if no other is found. */
static void child_exec(const struct pc_launch *l, int report) {
    int error = ENOENT;
    for (size_t i = 0; i < l->paths.count; i++) {
        execve(l->paths.items[i], l->argv.items, l->env.items);
        if (errno == EACCES) {
            error = EACCES;
        } else if (errno != ENOENT && errno != ENOTDIR) {
            error = errno;
            break;
        } else if (l->paths.count == 1) {
            error = errno;
        }
    }
    child_fail(report, false, error);
}

static void child_run(const struct pc_launch *l, const struct ends *e, pid_t parent) {
    pc_os_set_parent_death_signal(SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_NOT_STARTED);
    }
    setpgid(0, 0);
    setrlimit(RLIMIT_NOFILE, &inherited_descriptors);
    /* dup2 clears close-on-exec; no source is one of the targets, for 0 to 3 are taken in the port. */
    if (dup2(e->null, STDIN_FILENO) < 0 || dup2(e->out[1], STDOUT_FILENO) < 0 || dup2(e->err[1], STDERR_FILENO) < 0 ||
        dup2(e->link[1], PC_LINK_FD) < 0) {
        child_fail(e->report[1], false, errno);
    }
    if (l->cd != NULL && chdir(l->cd) < 0) {
        child_fail(e->report[1], true, errno);
    }
    pc_signals_reset();
    child_exec(l, e->report[1]);
}

int pc_launch_run(struct pc_launch *l, struct pc_launched *launched) {
    struct ends e;
    sigset_t all, before;
    pid_t parent = getpid();
    find_paths(l);
    int rc = open_ends(&e);
    if (rc < 0) {
        goto done;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        child_run(l, &e, parent);
    }
    rc = pid < 0 ? -errno : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (rc < 0) {
        goto done;
    }
    /* In both processes, so that the group exists before either needs it. */
    setpgid(pid, pid);
    *launched = (struct pc_launched){pid, e.link[0], e.report[0], {e.out[0], e.err[0]}};
    e.link[0] = e.report[0] = e.out[0] = e.err[0] = -1;
done:
    close_all(e.link, 2);
    close_all(e.report, 2);
    close_all(e.out, 2);
    close_all(e.err, 2);
    close_all(&e.null, 1);
    return rc;
}

size_t pc_launch_raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &inherited_descriptors) < 0) {
        return 256;
    }
    limit = inherited_descriptors;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        limit = inherited_descriptors;
    }
    return limit.rlim_cur > SIZE_MAX ? SIZE_MAX : (size_t)limit.rlim_cur;
}
