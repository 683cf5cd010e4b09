/*
 * pitcrew_port <socket_dir> <instance>: becomes the guard, and forks the port. docs/protocol.md, section 5.
 *
 * Descriptors 0 to 3 are always taken, so that a descriptor meant for a child never has one of their numbers.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "launch.h"
#include "messages.h"
#include "os/os.h"
#include "port.h"
#include "signals.h"
#include "socket_dir.h"
#include "sweep.h"

static void occupy_descriptors(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd < PC_LINK_FD);
    if (fd > PC_LINK_FD) {
        close(fd);
    }
}

/* Tells the VM, if it still listens, and whoever reads stderr. Before the port exists, so waiting harms nobody. */
static int fail(int status, const char *text) {
    static struct pc_output output;
    pc_output_init(&output, STDOUT_FILENO);
    pc_message_fatal(&output, text);
    pc_output_flush(&output);
    fprintf(stderr, "pitcrew_port: %s\n", text);
    return status;
}

static int fail_directory(const char *path, int error) {
    char text[512];
    const char *why = error == -EBUSY   ? "it is in use by another pitcrew_port"
                      : error == -EPERM ? "it is not a directory that only this user can write to"
                                        : strerror(-error);
    snprintf(text, sizeof text, "cannot use the socket directory %.300s: %s", path, why);
    return fail(PC_EXIT_DIRECTORY, text);
}

/* In the port's process. */
static void run_port(const char *instance, const int watch[2], int guard, struct pc_socket_dir *dir) {
    bool guard_gone = false;
    close(watch[1]);
    int status = pc_port_run(instance, watch[0], guard, &guard_gone);
    if (guard_gone) {
        pc_socket_dir_remove(dir);
    }
    _exit(status);
}

static int run(const char *path, const char *instance) {
    struct pc_socket_dir dir;
    int watch[2];
    bool stale;
    int rc = pc_socket_dir_open(&dir, path, &stale);
    if (rc < 0) {
        return fail_directory(path, rc);
    }
    if (stale) {
        pc_sweep_instance(instance);
    }
    pc_sweep_stale(&dir);
    if (pipe2(watch, O_CLOEXEC) < 0) {
        return fail(PC_EXIT_OS, strerror(errno));
    }
    /* Made by the guard itself: nobody else can be sure whose pid it is. */
    int guard = pc_os_pidfd_open(getpid());
    pid_t port = fork();
    if (port == 0) {
        run_port(instance, watch, guard, &dir);
    }
    if (guard >= 0) {
        close(guard);
    }
    if (port < 0) {
        rc = fail(PC_EXIT_OS, strerror(errno));
    } else {
        close(watch[0]);
        rc = pc_guard_run(port);
    }
    pc_socket_dir_remove(&dir);
    return rc;
}

/*
 * When a tool has started this VM, it carries the mark of that tool's worker, and an outer port would kill guard and port at once
 * as that worker's orphans, which nobody below them survives tidily. They end by themselves when the VM does.
 */
static void drop_outer_mark(void) {
    char *mark = getenv("PITCREW_INSTANCE");
    if (mark != NULL) {
        /* In place: /proc shows the memory that the process was started with. */
        memset(mark, 0, strlen(mark));
    }
}

/* A later start reads the instance from the directory's name. */
static bool arguments_valid(int argc, char **argv) {
    const size_t prefix = sizeof PC_SOCKET_DIR_PREFIX - 1;
    if (argc != 3 || !pc_instance_valid(argv[2])) {
        return false;
    }
    const char *slash = strrchr(argv[1], '/');
    const char *name = slash != NULL ? slash + 1 : argv[1];
    return strncmp(name, PC_SOCKET_DIR_PREFIX, prefix) == 0 && strcmp(name + prefix, argv[2]) == 0;
}

int main(int argc, char **argv) {
    occupy_descriptors();
    drop_outer_mark();
    pc_signals_init();
    if (!arguments_valid(argc, argv)) {
        return fail(PC_EXIT_USAGE,
                    "usage: pitcrew_port <base>/pitcrew.<instance> <instance>; an instance has 1 to 64 letters, "
                    "digits, '_', '-' or '.'");
    }
    pc_os_become_subreaper();
    return run(argv[1], argv[2]);
}
