/* See race_zygote.h. */

#include "race_zygote.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "codec/reader.h"
#include "os/os.h"
#include "python/children.h"
#include "python/launch.h"
#include "python/mark.h"
#include "python/packets.h"
#include "python/tell.h"

enum { LINK = 3, REQUEST_MOST = 65 * 1024, POLLED = 1024 };

struct race_zygote {
    pid_t pid;
    struct pc_children children;
    struct pc_packets packets;
    struct pc_inherited inherited;
    uint8_t request[REQUEST_MOST];
};

/* ---- Workers */

static _Noreturn void race_pause(void) {
    for (;;) {
        pause();
    }
}

/* A child that ignores SIGTERM, and a daemon of a double fork. */
static void race_leave_behind(void) {
    signal(SIGTERM, SIG_IGN);
    if (fork() == 0) {
        race_pause();
    }
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            race_pause();
        }
        _exit(0);
    }
    signal(SIGTERM, SIG_DFL);
}

/* Says who it is, and ends as it is told, or at the end of file with status 0. */
static _Noreturn void race_connect(uint32_t wid, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t status = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || send(fd, &wid, sizeof wid, MSG_NOSIGNAL) < 0) {
        _exit(RACE_NO_SOCKET);
    }
    (void)!read(fd, &status, 1);
    _exit(status);
}

static _Noreturn void race_flood(void) {
    static char block[64 * 1024];
    memset(block, 'y', sizeof block);
    for (size_t i = 99; i < sizeof block; i += 100) {
        block[i] = '\n';
    }
    for (;;) {
        (void)!write(STDOUT_FILENO, block, sizeof block);
    }
}

static _Noreturn void race_worker(uint32_t wid, char how, const char *path) {
    switch (how) {
    case 'c':
        race_connect(wid, path);
    case 'x':
        _exit(RACE_STATUS);
    case 'i':
        signal(SIGTERM, SIG_IGN);
        race_pause();
    case 'b':
        race_leave_behind();
        race_pause();
    case 'd':
        race_leave_behind();
        _exit(0);
    case 'f':
        race_flood();
    case 'u':
        raise(SIGUSR1);
        race_pause();
    default:
        race_pause();
    }
}

/* ---- The zygote */

static void race_fork(struct race_zygote *z, uint32_t wid, char how, const char *path) {
    struct pc_launch_fds f;
    if (how == 'r' || !pc_children_reserve(&z->children) || pc_launch_fds_open(&f, NULL, 0) != 0) {
        pc_tell_fork_failed(&z->packets, wid, "as it was told");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        pc_launch_child(&f, &z->inherited, z->pid, wid);
        for (int fd = LINK; fd < 256; fd++) {
            (void)close(fd);
        }
        race_worker(wid, how, path);
    }
    (void)setpgid(pid, pid);
    int pidfd = pc_os_pidfd_open(pid);
    int for_port = dup(pidfd);
    if (pid < 0 || for_port < 0) {
        abort();
    }
    pc_children_add(&z->children, pid, wid, pidfd);
    pc_tell_forked(&z->packets, wid, pid, for_port, &f);
    pc_launch_fds_close(&f);
}

static void race_request(struct race_zygote *z, size_t n) {
    struct pc_reader r;
    uint32_t fields, size;
    uint64_t wid;
    const char *name;
    const uint8_t *payload;
    char path[96];
    pc_reader_init(&r, z->request, n);
    if (pc_read_array(&r, &fields) != PC_OK || pc_read_str(&r, &name, &size) != PC_OK ||
        pc_read_uint(&r, &wid) != PC_OK || pc_read_bytes(&r, &payload, &size) != PC_OK || size < 1) {
        abort();
    }
    size_t length = strnlen((const char *)payload + 1, size - 1);
    length = length < sizeof path ? length : sizeof path - 1;
    memcpy(path, payload + 1, length);
    path[length] = '\0';
    race_fork(z, (uint32_t)wid, (char)payload[0], path);
}

static void race_ready(void) {
    static const uint8_t ready[] = {0x92, 0xa5, 'r', 'e', 'a', 'd', 'y', 0xc4, 0};
    if (send(LINK, ready, sizeof ready, MSG_NOSIGNAL) < 0) {
        _exit(0);
    }
}

/* What is there, up to the first pause. */
static void race_read_requests(struct race_zygote *z) {
    ssize_t n;
    while ((n = recv(LINK, z->request, sizeof z->request, MSG_DONTWAIT)) > 0) {
        race_request(z, (size_t)n);
    }
    if (n == 0) {
        _exit(0);
    }
}

int race_zygote_main(void) {
    static struct race_zygote z;
    static struct pollfd polled[POLLED + 1];
    struct pc_child_exit e;
    z.pid = getpid();
    if (pc_mark_find() < 0) {
        return 1;
    }
    pc_inherited_take(&z.inherited);
    race_ready();
    for (;;) {
        if (!pc_packets_flush(&z.packets, LINK)) {
            return 0;
        }
        size_t n = z.children.count < POLLED ? z.children.count : POLLED;
        polled[0] = (struct pollfd){.fd = LINK, .events = (short)(POLLIN | (z.packets.first != NULL ? POLLOUT : 0))};
        for (size_t i = 0; i < n; i++) {
            polled[i + 1] = (struct pollfd){.fd = z.children.items[i].pidfd, .events = POLLIN};
        }
        (void)poll(polled, (nfds_t)n + 1, -1);
        for (size_t i = z.children.count; i-- > 0;) {
            if (pc_children_reap(&z.children, i, &e)) {
                pc_tell_exit(&z.packets, &e);
            }
        }
        race_read_requests(&z);
    }
}
