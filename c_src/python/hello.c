/* See hello.h. Descriptors come with the first byte, so the first bytes are read apart. */

#include "hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "decode.h"
#include "wire/kinds.h"

enum { PASSED_MOST = 2 };

/* Descriptors that have come. */
struct passed {
    size_t count;
    int fds[PASSED_MOST]; /* owned */
};

static void take_descriptors(struct passed *passed, struct msghdr *message) {
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        passed->count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(passed->fds, CMSG_DATA(header), passed->count * sizeof(int));
    }
}

/* The first bytes, and what came with them. There is room for so many descriptors: the kernel closes others. */
static ssize_t receive_first(int fd, uint8_t bytes[PC_FRAME_HEADER], struct passed *passed) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof passed->fds)];
    } control;
    struct iovec data = {.iov_base = bytes, .iov_len = PC_FRAME_HEADER};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_LEN(sizeof passed->fds)};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got > 0) {
        take_descriptors(passed, &message);
    }
    return got;
}

/* The same, into an inbox that is empty. 1, 0 at end of file, or -1. */
static int begin_hello(struct pc_inbox *in, int fd, struct passed *passed) {
    in->data = malloc(PC_FRAME_HEADER);
    if (in->data == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    in->cap = PC_FRAME_HEADER;
    for (;;) {
        ssize_t got = receive_first(fd, in->data, passed);
        if (got >= 0) {
            in->end = (size_t)got;
            in->total = (uint64_t)got;
            return got > 0;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return 0;
        }
        if (pc_channel_wait_input(fd) < 0) {
            return -1;
        }
    }
}

/* The frame, None at end of file, or NULL with an exception. */
static PyObject *rest_of_hello(struct pc_inbox *in, int fd, int begun) {
    const uint8_t *payload;
    size_t n;
    int got = begun > 0 ? pc_channel_next_alone(in, fd, PC_MAX_FRAME, &payload, &n) : begun;
    if (got <= 0) {
        return got == 0 ? Py_NewRef(Py_None) : NULL;
    }
    struct pc_decoder d;
    pc_decoder_init(&d, payload, n, PC_MAX_DEPTH);
    PyObject *frame = pc_decode_value(&d);
    if (frame == NULL) {
        pc_path_complete(&d.path, "frame");
    }
    pc_decoder_destroy(&d);
    return frame;
}

static PyObject *list_of(const struct passed *passed) {
    PyObject *list = PyList_New((Py_ssize_t)passed->count);
    for (size_t i = 0; list != NULL && i < passed->count; i++) {
        PyObject *number = PyLong_FromLong(passed->fds[i]);
        if (number == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, number);
        }
    }
    return list;
}

PyObject *pc_hello_read(PyObject *module, PyObject *arg) {
    (void)module;
    int fd = PyObject_AsFileDescriptor(arg);
    if (fd < 0) {
        return NULL;
    }
    struct passed passed = {.count = 0};
    struct pc_inbox in;
    pc_inbox_init(&in);
    PyObject *frame = rest_of_hello(&in, fd, begin_hello(&in, fd, &passed));
    pc_inbox_destroy(&in);
    PyObject *fds = frame == NULL ? NULL : list_of(&passed);
    PyObject *result = fds == NULL ? NULL : PyTuple_Pack(2, frame, fds);
    Py_XDECREF(frame);
    Py_XDECREF(fds);
    for (size_t i = 0; result == NULL && i < passed.count; i++) {
        (void)close(passed.fds[i]);
    }
    return result;
}
