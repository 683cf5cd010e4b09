/*
 * Frames through a socket that gives and takes as little as the test wants, with interruptions in between: send, sendmsg
 * and recv are replaced by the linker. Whatever the splits, what comes out is what went in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "codec_vectors.h"
#include "wire/io.h"

enum { LIMIT = 1 << 20, WIRE = 1 << 17, NOBODY = 1000 /* no descriptor that is open */ };

/* One direction: so many bytes pass, then it would block; or one at a time, interrupted before, blocked after. */
struct tap {
    size_t first, then;
    bool drips;
    unsigned turn;
};

static struct {
    uint8_t bytes[WIRE];
    size_t start, end;
    struct tap out, in;
} wire;

/* How many of n bytes pass now; 0 with errno set. */
static size_t pass(struct tap *tap, size_t n) {
    if (tap->drips) {
        static const int in_between[] = {EINTR, 0, EAGAIN};
        errno = in_between[tap->turn++ % 3];
        return errno == 0 ? 1 : 0;
    }
    size_t some = tap->first < n ? tap->first : n;
    tap->first -= some;
    if (some == 0) {
        tap->first = tap->then;
        tap->then = 0;
        errno = EAGAIN;
    }
    return some;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t n, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    assert_int_equal(fd, NOBODY);
    assert_int_equal(flags, MSG_DONTWAIT | MSG_NOSIGNAL);
    size_t all = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        all += message->msg_iov[i].iov_len;
    }
    assert_true(all > 0); /* nothing is sent for nothing */
    size_t n = pass(&wire.out, all);
    size_t left = n;
    for (size_t i = 0; left > 0; i++) {
        size_t some = message->msg_iov[i].iov_len < left ? message->msg_iov[i].iov_len : left;
        assert_true(wire.end + some <= WIRE);
        memcpy(wire.bytes + wire.end, message->msg_iov[i].iov_base, some);
        wire.end += some;
        left -= some;
    }
    return n > 0 ? (ssize_t)n : -1;
}

ssize_t __wrap_send(int fd, const void *data, size_t n, int flags) {
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
    return __wrap_sendmsg(fd, &(struct msghdr){.msg_iov = &piece, .msg_iovlen = 1}, flags);
}

ssize_t __wrap_recv(int fd, void *data, size_t n, int flags) {
    assert_int_equal(fd, NOBODY);
    assert_int_equal(flags, MSG_DONTWAIT);
    size_t there = wire.end - wire.start;
    if (there == 0) {
        errno = EAGAIN;
        return -1;
    }
    size_t some = pass(&wire.in, n < there ? n : there);
    memcpy(data, wire.bytes + wire.start, some);
    wire.start += some;
    return some > 0 ? (ssize_t)some : -1;
}

/* ---- One frame, written in its parts and read whole */

/* How the payload lies in the outbox: a part from `cut` on, of `part` bytes, and the rest in the writer. */
struct layout {
    size_t cut, part;
};

static void put_frame(struct pc_outbox *out, const uint8_t *bytes, size_t n, struct layout l) {
    size_t mark = pc_outbox_begin(out, LIMIT);
    pc_writer_append(&out->w, bytes, l.cut);
    if (l.part > 0) {
        assert_true(pc_outbox_part(out, &(struct pc_part){.at = out->w.len, .data = bytes + l.cut, .n = l.part}));
    }
    pc_writer_append(&out->w, bytes + l.cut + l.part, n - l.cut - l.part);
    assert_int_equal(pc_outbox_end(out, mark), PC_OK);
}

/* Sends two frames of these bytes and reads them, by turns, until both are there. */
static void crosses(const uint8_t *bytes, size_t n, struct layout l, struct tap out_tap, struct tap in_tap) {
    struct pc_inbox in;
    struct pc_outbox out;
    pc_inbox_init(&in);
    pc_outbox_init(&out);
    wire.start = wire.end = 0;
    wire.out = out_tap;
    wire.in = in_tap;
    put_frame(&out, bytes, n, l);
    put_frame(&out, bytes, n, (struct layout){.cut = n});
    size_t whole = pc_outbox_pending(&out);
    size_t turns = 0;
    for (int frames = 0; frames < 2; turns++) {
        assert_true(turns <= 8 * whole + 16);
        const uint8_t *payload;
        size_t size;
        enum pc_io sent = pc_outbox_flush(&out, NOBODY);
        assert_true(sent == (pc_outbox_pending(&out) > 0 ? PC_IO_AGAIN : PC_IO_DONE));
        enum pc_io got = pc_inbox_read(&in, NOBODY, LIMIT, SIZE_MAX, &payload, &size);
        assert_true(got == PC_IO_DONE || got == PC_IO_AGAIN);
        if (got == PC_IO_DONE) {
            assert_int_equal(size, n);
            assert_memory_equal(payload, bytes, n);
            pc_inbox_consume(&in);
            frames++;
        }
    }
    assert_int_equal(pc_outbox_pending(&out), 0);
    assert_int_equal(out.total, whole);
    assert_int_equal(in.total, whole);
    assert_false(pc_inbox_partial(&in));
    pc_inbox_destroy(&in);
    pc_outbox_destroy(&out);
}

static const struct tap open_tap = {.first = SIZE_MAX};
static const struct tap dripping = {.drips = true};

static struct tap split_at(size_t k) { return (struct tap){.first = k, .then = SIZE_MAX}; }

static void each_split(const uint8_t *bytes, size_t n, struct layout l) {
    crosses(bytes, n, l, dripping, dripping);
    for (size_t k = 0; k <= 2 * (n + 4); k++) {
        crosses(bytes, n, l, split_at(k), open_tap);
        crosses(bytes, n, l, open_tap, split_at(k));
    }
}

static void split_vector(const struct vector *v, void *argument) {
    (void)argument;
    each_split(v->bytes, v->n, (struct layout){.cut = v->n});
    each_split(v->bytes, v->n, (struct layout){.cut = v->n / 3, .part = v->n / 2});
}

static void every_vector_crosses_in_every_split(void **state) {
    (void)state;
    static const char *const files[] = {"codec_both.tsv",  "codec_read.tsv",      "codec_bad.tsv",
                                        "codec_types.tsv", "codec_types_bad.tsv", "codec_types_read.tsv"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_true(vectors_run(files[i], split_vector, NULL) > 0);
    }
}

/* A part that lies anywhere in the frame. */
static void every_layout_crosses_in_every_split(void **state) {
    (void)state;
    static const uint8_t bytes[] = "[4,1,0,\"done\"]";
    const size_t n = sizeof bytes - 1;
    for (size_t cut = 0; cut <= n; cut++) {
        for (size_t part = 0; part <= n - cut; part++) {
            each_split(bytes, n, (struct layout){.cut = cut, .part = part});
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_crosses_in_every_split),
        cmocka_unit_test(every_layout_crosses_in_every_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
