/* Blocking frames on top of wire/io.h. The GIL is tried to be kept: data that is already there costs no release of it. */

#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "codec/reader.h"
#include "encode.h"
#include "guard.h"
#include "wire/clock.h"
#include "wire/kinds.h"

static int wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    int result, error;
    Py_BEGIN_ALLOW_THREADS result = poll(&p, 1, -1);
    error = errno;
    Py_END_ALLOW_THREADS if (result >= 0) { return 0; }
    if (error == EINTR) {
        return PyErr_CheckSignals();
    }
    errno = error;
    (void)PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Polls without the GIL for what the limit allows, and leaves in the inbox what came; whether anything did. */
static bool poll_input(struct pc_inbox *in, int fd, size_t max_frame, struct pc_spin *spin) {
    const uint8_t *payload;
    size_t n;
    enum pc_io io;
    int64_t begin = pc_clock_ns();
    Py_BEGIN_ALLOW_THREADS do { io = pc_inbox_read(in, fd, max_frame, SIZE_MAX, &payload, &n); }
    while (io == PC_IO_AGAIN && pc_clock_ns() - begin < spin->limit_ns)
        ;
    Py_END_ALLOW_THREADS pc_spin_done(spin, io == PC_IO_AGAIN);
    return io != PC_IO_AGAIN;
}

/* Until there is something to read. 0 or -1. */
static int wait_input(struct pc_inbox *in, int fd, size_t max_frame, struct pc_spin *spin) {
    return pc_spin_pays(spin) && poll_input(in, fd, max_frame, spin) ? 0 : wait_for(fd, POLLIN);
}

/* A frame, reading at most `share` bytes at first, and then none that come after it. */
static int next_frame(struct pc_inbox *in, int fd, size_t max_frame, size_t share, struct pc_spin *spin,
                      const uint8_t **payload, size_t *n) {
    for (;;) {
        switch (pc_inbox_read(in, fd, max_frame, share, payload, n)) {
        case PC_IO_DONE:
            return 1;
        case PC_IO_EOF:
            return 0;
        case PC_IO_AGAIN:
            if (wait_input(in, fd, max_frame, spin) < 0) {
                return -1;
            }
            break;
        case PC_IO_MORE:
            if (in->end - in->start >= PC_FRAME_HEADER) {
                size_t whole = PC_FRAME_HEADER + (size_t)pc_frame_length(in->data + in->start);
                share = whole - (in->end - in->start);
            }
            break;
        case PC_IO_BAD:
            PyErr_SetString(pc_ProtocolError, "a frame is larger than the limit, or than the memory there is");
            return -1;
        }
    }
}

int pc_channel_next(struct pc_inbox *in, int fd, size_t max_frame, struct pc_spin *spin, const uint8_t **payload,
                    size_t *n) {
    return next_frame(in, fd, max_frame, SIZE_MAX, spin, payload, n);
}

int pc_channel_next_alone(struct pc_inbox *in, int fd, size_t max_frame, const uint8_t **payload, size_t *n) {
    struct pc_spin never = {.limit_ns = 0};
    return next_frame(in, fd, max_frame, PC_FRAME_HEADER - in->end, &never, payload, n);
}

int pc_channel_wait_input(int fd) { return wait_for(fd, POLLIN); }

int pc_channel_wait_room(int fd) { return wait_for(fd, POLLOUT); }

int pc_channel_flush(struct pc_outbox *out, int fd) {
    for (;;) {
        enum pc_io put = pc_outbox_flush(out, fd);
        if (put != PC_IO_AGAIN) {
            return put == PC_IO_DONE;
        }
        if (pc_channel_wait_room(fd) < 0) {
            return -1;
        }
    }
}

PyObject *pc_channel_write_frame(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    PyObject *frame;
    if (!PyArg_ParseTuple(args, "iO:write_frame", &fd, &frame)) {
        return NULL;
    }
    if (!PyList_Check(frame) && !PyBytes_Check(frame)) {
        PyErr_SetString(PyExc_TypeError, "write_frame: a frame is a list, or bytes that encode() has made of one");
        return NULL;
    }
    struct pc_outbox out;
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, PC_MAX_FRAME);
    int put = 0;
    if (PyBytes_Check(frame)) {
        pc_writer_append(&out.w, PyBytes_AS_STRING(frame), (size_t)PyBytes_GET_SIZE(frame));
    } else {
        put = pc_encode(&out.w, frame, PC_MAX_DEPTH, "frame");
    }
    if (put == 0) {
        if (pc_outbox_end(&out, mark) != PC_OK) {
            (void)PyErr_NoMemory();
            put = -1;
        } else {
            put = pc_channel_flush(&out, fd);
        }
        if (put == 0) {
            PyErr_SetString(PyExc_BrokenPipeError, "the VM has closed the connection");
        }
    }
    pc_outbox_destroy(&out);
    return put == 1 ? Py_NewRef(Py_None) : NULL;
}

/* 0 or errno. */
static int connect_socket(int fd, const struct sockaddr_un *address) {
    int result, error;
    do {
        Py_BEGIN_ALLOW_THREADS result = connect(fd, (const struct sockaddr *)address, sizeof *address);
        error = errno;
        Py_END_ALLOW_THREADS
    } while (result < 0 && error == EINTR);
    return result < 0 ? error : 0;
}

static int connect_to(const char *path, size_t n) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (n >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    /* Before it is connected, and so before a start hook or a thread may fork. */
    int error = -pc_guard_hold(fd);
    if (error == 0) {
        error = connect_socket(fd, &address);
    }
    if (error != 0) {
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

PyObject *pc_channel_connect(PyObject *module, PyObject *args) {
    PyObject *path, *token, *role;
    if (!PyArg_ParseTuple(args, "O&SU:connect", PyUnicode_FSConverter, &path, &token, &role)) {
        return NULL;
    }
    PyObject *result = NULL, *write_args = NULL, *written = NULL;
    int fd = connect_to(PyBytes_AS_STRING(path), (size_t)PyBytes_GET_SIZE(path));
    if (fd < 0) {
        PyObject *name = PyUnicode_DecodeFSDefault(PyBytes_AS_STRING(path));
        (void)PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, name);
        Py_XDECREF(name);
        goto done;
    }
    write_args = Py_BuildValue("(i[iiOOi])", fd, PC_KIND_AUTH, 0, token, role, (int)getpid());
    written = write_args == NULL ? NULL : pc_channel_write_frame(module, write_args);
    result = written == NULL ? NULL : PyLong_FromLong(fd);
done:
    if (result == NULL && fd >= 0) {
        (void)close(fd);
    }
    Py_DECREF(path);
    Py_XDECREF(write_args);
    Py_XDECREF(written);
    return result;
}
