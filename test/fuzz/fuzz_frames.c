/*
 * A stream of frames in pieces: the first byte of the input seeds the splits, the rest is the stream. Whatever the
 * splits, the same frames come out, and memory is never more than a small multiple of what has arrived. The head of a frame that is
 * JSON is what would have been written for its numbers.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/reader.h"
#include "wire/io.h"
#include "wire/json_frame.h"

enum { LIMIT = 1 << 16, MOST = 1 << 15 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool condition) {
    if (!condition) {
        abort();
    }
}

struct outcome {
    size_t frames;
    uint64_t hash;
    enum pc_io end;
};

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
    struct outcome o = {0, 1, PC_IO_AGAIN};
    struct pc_inbox in;
    int fd[2];
    expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
    pc_inbox_init(&in);
    size_t sent = 0;
    while (sent < size && o.end == PC_IO_AGAIN) {
        size_t piece = whole ? size - sent : 1 + (size_t)rand_r(&seed) % 64;
        piece = piece < size - sent ? piece : size - sent;
        expect(write(fd[0], stream + sent, piece) == (ssize_t)piece);
        sent += piece;
        o.end = drain(&in, fd[1], sent, &o);
    }
    close(fd[0]);
    if (o.end == PC_IO_AGAIN) {
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
    expect(whole.frames == pieces.frames && whole.hash == pieces.hash && whole.end == pieces.end);
    return 0;
}
