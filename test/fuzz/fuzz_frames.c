/*
 * A stream of frames in pieces: the first byte of the input seeds the splits, the rest is the stream. Whatever the
 * splits, the same frames come out, and memory is never more than a small multiple of what has arrived. The head of a frame that is
 * JSON is what would have been written for its numbers.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/reader.h"
#include "wire/io.h"
#include "wire/json_frame.h"

enum { LIMIT = 1 << 16, MOST = 1 << 15 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Which one it was is not in the stack trace of optimised code; and a call of the system's may have failed. */
#define expect(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *condition, int line) {
    fprintf(stderr, "fuzz_frames.c:%d: not %s (%s)\n", line, condition, strerror(errno));
    abort();
}

struct outcome {
    size_t frames;
    uint64_t hash;
    enum pc_io end;
    bool refused; /* by the system: this says nothing of frames */
};

/* It may be short of something for a moment. */
static void refuse(struct outcome *o, const char *what) {
    static unsigned times;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    expect(++times < 10);
    o->refused = true;
}

static void expect_prefix(const struct pc_writer *w, const uint8_t *payload, size_t n) {
    expect(w->status == PC_OK && w->len <= n && memcmp(w->data, payload, w->len) == 0);
}

static void read_json(const uint8_t *payload, size_t n) {
    uint8_t room[128];
    struct pc_writer w;
    struct pc_json_head head;
    struct pc_json_answer answer;
    if (!pc_frame_is_json(payload, n) || !pc_json_head_read(payload, n, &head)) {
        return;
    }
    expect(head.end < n && (payload[head.end] == ',' || payload[head.end] == ']'));
    pc_writer_init(&w, room, sizeof room, sizeof room, pc_grow_malloc, NULL);
    pc_json_head_write(&w, head.kind, head.id);
    w.len--; /* the comma may be a bracket */
    expect_prefix(&w, payload, n);
    if (pc_json_answer_read(payload, n, &head, &answer)) {
        w.len = 0;
        pc_json_answer_write(&w, head.kind, head.id, answer.python_ns);
        expect_prefix(&w, payload, n);
        expect(answer.value == payload + w.len && answer.size > 0 && w.len + answer.size + 1 == n);
    }
}

static enum pc_io drain(struct pc_inbox *in, int fd, size_t arrived, struct outcome *o) {
    for (;;) {
        const uint8_t *payload;
        size_t n;
        enum pc_io io = pc_inbox_read(in, fd, LIMIT, SIZE_MAX, &payload, &n);
        expect(in->cap <= 2 * arrived + 16 * 1024);
        if (io != PC_IO_DONE) {
            return io;
        }
        expect(n <= LIMIT);
        o->frames++;
        read_json(payload, n);
        for (size_t i = 0; i < n; i++) {
            o->hash = (o->hash ^ payload[i]) * UINT64_C(0x100000001b3);
        }
        pc_inbox_consume(in);
    }
}

static struct outcome run(const uint8_t *stream, size_t size, unsigned seed, bool whole) {
    struct outcome o = {0, 1, PC_IO_AGAIN, false};
    struct pc_inbox in;
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0) {
        refuse(&o, "socketpair");
        return o;
    }
    pc_inbox_init(&in);
    size_t sent = 0;
    while (sent < size && o.end == PC_IO_AGAIN && !o.refused) {
        size_t piece = whole ? size - sent : 1 + (size_t)rand_r(&seed) % 64;
        piece = piece < size - sent ? piece : size - sent;
        ssize_t put = write(fd[0], stream + sent, piece);
        if (put < 0) {
            refuse(&o, "write");
        } else {
            sent += (size_t)put;
            o.end = drain(&in, fd[1], sent, &o);
        }
    }
    close(fd[0]);
    if (o.end == PC_IO_AGAIN && !o.refused) {
        expect(poll(&(struct pollfd){.fd = fd[1], .events = POLLIN}, 1, -1) == 1);
        o.end = drain(&in, fd[1], sent, &o);
        expect(o.end == PC_IO_EOF);
    }
    close(fd[1]);
    pc_inbox_destroy(&in);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > MOST) {
        return 0;
    }
    struct outcome whole = run(data + 1, size - 1, 0, true);
    struct outcome pieces = run(data + 1, size - 1, data[0], false);
    expect(whole.refused || pieces.refused ||
           (whole.frames == pieces.frames && whole.hash == pieces.hash && whole.end == pieces.end));
    return 0;
}
