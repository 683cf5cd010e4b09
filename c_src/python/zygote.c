/*
 * One loop, one thread: requests in, packets out, exits noticed through pidfds. The GIL is held but for the wait. Nothing but
 * pc_launch_* and what this file says happens between fork and the return into Python in a child.
 *
 * A worker must not hold what belongs to the zygote: link, pidfds, queued descriptors and other workers' pipes are closed
 * in a forked child by hand, and by close-on-exec in an executed one.
 */

#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "argv.h"
#include "children.h"
#include "codec/reader.h"
#include "decode.h"
#include "launch.h"
#include "mark.h"
#include "os/os.h"
#include "packets.h"
#include "tell.h"
#include "upkeep.h"

/* A payload of 64 KiB, and what stands around it in its packet. */
enum { REQUEST_MOST = 64 * 1024 + 64 };

enum { REST_MS = 200 };

struct zygote {
    int link;
    pid_t pid;
    char **argv; /* NULL: fork mode */
    bool rests;  /* and has let go of what only the imports needed */
    struct pc_children children;
    struct pc_packets packets;
    struct pc_inherited inherited;
    struct pollfd *polled;
    size_t polled_room;
    uint8_t request[REQUEST_MOST];
};

struct fork_request {
    uint32_t wid;
    const uint8_t *payload;
    uint32_t n;
};

/* What a step of the loop says. */
enum step { GO_ON, IN_CHILD, LINK_GONE };

/* ---- Forking */

/* In the parent: a child that cannot be watched is not left alone. */
static void adopt(struct zygote *z, const struct fork_request *q, pid_t pid, struct pc_launch_fds *f) {
    (void)setpgid(pid, pid); /* the child does it too; whoever is first */
    int pidfd = pc_os_pidfd_open(pid);
    int for_port = pidfd < 0 ? -1 : fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
    if (for_port < 0) {
        int error = pidfd < 0 ? -pidfd : errno;
        pc_child_discard(pid, pidfd);
        pc_tell_fork_failed(&z->packets, q->wid, strerror(error));
        return;
    }
    pc_children_add(&z->children, pid, q->wid, pidfd);
    pc_tell_forked(&z->packets, q->wid, pid, for_port, f);
}

/* In a child that goes on in Python. */
static void leave_zygote(struct zygote *z, struct pc_launch_fds *f) {
    pc_launch_fds_close(f);
    (void)close(z->link);
    pc_packets_clear(&z->packets);
    pc_children_forget(&z->children);
}

static enum step fork_here(struct zygote *z, const struct fork_request *q, struct pc_launch_fds *f) {
    PyOS_BeforeFork();
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) {
        pc_launch_child(f, &z->inherited, z->pid, q->wid);
        leave_zygote(z, f);
        PyOS_AfterFork_Child();
        return IN_CHILD;
    }
    PyOS_AfterFork_Parent();
    if (pid < 0) {
        pc_tell_fork_failed(&z->packets, q->wid, strerror(error));
    } else {
        adopt(z, q, pid, f);
    }
    return GO_ON;
}

static void fork_and_exec(struct zygote *z, const struct fork_request *q, struct pc_launch_fds *f) {
    struct pc_exec exec = {.argv = z->argv};
    if (!pc_exec_prepare(&exec, q->wid)) {
        pc_tell_fork_failed(&z->packets, q->wid,
                            "the environment of the worker could not be built: " PC_MARK_NAME " is missing, or memory");
        return;
    }
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) {
        pc_launch_child(f, &z->inherited, z->pid, q->wid);
        pc_launch_exec(&exec);
    }
    if (pid < 0) {
        pc_tell_fork_failed(&z->packets, q->wid, strerror(error));
    } else {
        adopt(z, q, pid, f);
    }
    pc_exec_clear(&exec);
}

static enum step make_worker(struct zygote *z, const struct fork_request *q) {
    struct pc_launch_fds f;
    if (!pc_children_reserve(&z->children)) {
        pc_tell_fork_failed(&z->packets, q->wid, strerror(ENOMEM));
        return GO_ON;
    }
    int error = pc_launch_fds_open(&f, z->argv == NULL ? NULL : q->payload, q->n);
    if (error != 0) {
        pc_tell_fork_failed(&z->packets, q->wid, strerror(-error));
        return GO_ON;
    }
    enum step step = GO_ON;
    if (z->argv == NULL) {
        step = fork_here(z, q, &f);
    } else {
        fork_and_exec(z, q, &f);
    }
    pc_launch_fds_close(&f);
    return step;
}

/* ---- Requests in */

static bool parse(const uint8_t *bytes, size_t n, struct fork_request *q) {
    struct pc_reader r;
    uint32_t count, name_n;
    uint64_t wid;
    const char *name;
    pc_reader_init(&r, bytes, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 3 || pc_read_str(&r, &name, &name_n) != PC_OK || name_n != 4 ||
        memcmp(name, "fork", 4) != 0 || pc_read_uint(&r, &wid) != PC_OK || wid > UINT32_MAX ||
        pc_read_bytes(&r, &q->payload, &q->n) != PC_OK) {
        return false;
    }
    q->wid = (uint32_t)wid;
    return true;
}

static enum step read_requests(struct zygote *z, struct fork_request *q) {
    for (;;) {
        ssize_t n = recv(z->link, z->request, sizeof z->request, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return LINK_GONE;
        }
        if (n < 0) {
            return GO_ON;
        }
        /* What is not understood comes from a newer port, which reads `failed` or waits; it is no reason to end. */
        if (parse(z->request, (size_t)n, q)) {
            enum step step = make_worker(z, q);
            if (step != GO_ON) {
                return step;
            }
            (void)pc_packets_flush(&z->packets, z->link); /* the loop looks at the result */
        } else {
            static const char text[] = "pitcrew: a message on the zygote link was not understood\n";
            (void)!write(STDERR_FILENO, text, sizeof text - 1);
        }
    }
}

/* ---- The loop */

static bool make_polled(struct zygote *z) {
    size_t n = z->children.count + 1;
    if (n > z->polled_room) {
        struct pollfd *polled = realloc(z->polled, 2 * n * sizeof *polled);
        if (polled == NULL) {
            return false;
        }
        z->polled = polled;
        z->polled_room = 2 * n;
    }
    z->polled[0] = (struct pollfd){.fd = z->link, .events = POLLIN};
    if (z->packets.first != NULL) {
        z->polled[0].events |= POLLOUT;
    }
    for (size_t i = 0; i < z->children.count; i++) {
        z->polled[i + 1] = (struct pollfd){.fd = z->children.items[i].pidfd, .events = POLLIN};
    }
    return true;
}

static void run_signal_handlers(void) {
    if (PyErr_CheckSignals() < 0) {
        PyErr_WriteUnraisable(NULL);
    }
}

/* Once nobody has asked for a worker for a while: it takes a millisecond or two. Workers map what they use by themselves, also of what stays here. */
static void rest(struct zygote *z) {
    z->rests = true;
    if (z->argv == NULL) {
        (void)pc_os_leave_file_pages();
    }
}

static void wait_for_event(struct zygote *z) {
    int result, error;
    nfds_t n = (nfds_t)(z->children.count + 1);
    Py_BEGIN_ALLOW_THREADS result = poll(z->polled, n, z->rests ? -1 : REST_MS);
    error = errno;
    Py_END_ALLOW_THREADS if (result < 0 && error == EINTR) { run_signal_handlers(); }
    if (result == 0) {
        rest(z);
    }
}

/* From the last to the first: what takes the place of a removed one has been looked at. */
static void reap_children(struct zygote *z) {
    struct pc_child_exit e;
    for (size_t i = z->children.count; i-- > 0;) {
        if (pc_children_reap(&z->children, i, &e)) {
            pc_tell_exit(&z->packets, &e);
        }
    }
}

/* Leaves only in a child, with the request that made it. */
static void loop(struct zygote *z, struct fork_request *q) {
    for (;;) {
        if (!pc_packets_flush(&z->packets, z->link) || !make_polled(z)) {
            _exit(1);
        }
        wait_for_event(z);
        reap_children(z);
        switch (read_requests(z, q)) {
        case GO_ON:
            break;
        case IN_CHILD:
            return;
        case LINK_GONE:
            _exit(0);
        }
    }
}

/* ---- Module function */

static PyObject *decode_payload(const struct fork_request *q) {
    struct pc_decoder d;
    pc_decoder_init(&d, q->payload, q->n, PC_MAX_DEPTH);
    PyObject *payload = pc_decode_value(&d);
    if (payload == NULL) {
        pc_path_complete(&d.path, "payload");
    }
    pc_decoder_destroy(&d);
    return payload == NULL ? NULL : Py_BuildValue("(kN)", (unsigned long)q->wid, payload);
}

/* They are ignored now, and one that was held back until here is gone. */
static void let_interrupts_come(void) {
    sigset_t interrupt;
    (void)sigemptyset(&interrupt);
    (void)sigaddset(&interrupt, SIGINT);
    (void)pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
}

PyObject *pc_zygote_loop(PyObject *module, PyObject *args) {
    (void)module;
    int link;
    PyObject *list;
    if (!PyArg_ParseTuple(args, "iO:zygote_loop", &link, &list)) {
        return NULL;
    }
    if (pc_mark_find() < 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        PC_MARK_NAME " must be set to <instance>-00000000 when the zygote is started");
        return NULL;
    }
    struct zygote *z = calloc(1, sizeof *z);
    if (z == NULL) {
        return PyErr_NoMemory();
    }
    z->link = link;
    z->pid = getpid();
    PyObject *payload = NULL;
    if (pc_argv_read(list, &z->argv) == 0) {
        struct fork_request q;
        pc_inherited_take(&z->inherited);
        let_interrupts_come();
        pc_upkeep_release(); /* of the imports: what is free here would be so in every worker, and never be used */
        loop(z, &q);
        payload = decode_payload(&q);
    }
    pc_argv_free(z->argv);
    free(z->polled);
    free(z);
    return payload;
}
