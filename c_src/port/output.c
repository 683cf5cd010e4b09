/*
 * The queue to the VM.
 *
 * Lines are taken from the ring only when the queue is empty, and never more than BATCH bytes of them, so a message waits
 * behind that much at most. Memory is bounded by the ring plus the answers that the VM has asked for and not read.
 */

#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory.h"

enum {
    BATCH = 16 * 1024,
    REPORT_MS = 1000,
    KEEP = 256 * 1024, /* an empty queue above this size is given back */
};

void pc_output_init(struct pc_output *o, int fd) {
    memset(o, 0, sizeof *o);
    o->fd = fd;
    pc_writer_init(&o->queue, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
}

void pc_output_destroy(struct pc_output *o) { free(o->queue.data); }

struct pc_writer *pc_output_begin(struct pc_output *o, size_t count, const char *name, size_t *mark) {
    *mark = pc_write_frame_begin(&o->queue);
    pc_write_array(&o->queue, count);
    pc_write_cstr(&o->queue, name);
    return &o->queue;
}

static void reset(struct pc_output *o) {
    o->queue.len = 0;
    o->sent = 0;
    if (o->queue.cap > KEEP) {
        free(o->queue.data);
        pc_writer_init(&o->queue, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    }
}

void pc_output_end(struct pc_output *o, size_t mark) {
    pc_write_frame_end(&o->queue, mark);
    if (o->queue.status != PC_OK) {
        _exit(PC_EXIT_NO_MEMORY);
    }
    if (o->closed) {
        reset(o);
    }
}

void pc_output_line(struct pc_output *o, uint32_t wid, uint8_t fd, const uint8_t *line, size_t n) {
    if (!o->closed) {
        pc_ring_push(&o->ring, wid, fd, line, n);
    }
}

void pc_output_drop(struct pc_output *o, size_t n) {
    if (!o->closed) {
        o->ring.dropped_lines++;
        o->ring.dropped_bytes += n;
    }
}

int64_t pc_output_report_at(const struct pc_output *o) {
    return o->ring.dropped_lines == 0 || o->closed || o->sent < o->queue.len ? 0 : o->report_at != 0 ? o->report_at : 1;
}

static void report(struct pc_output *o) {
    size_t mark;
    struct pc_writer *w = pc_output_begin(o, 3, "dropped", &mark);
    pc_write_uint(w, o->ring.dropped_lines);
    pc_write_uint(w, o->ring.dropped_bytes);
    pc_output_end(o, mark);
    o->ring.dropped_lines = 0;
    o->ring.dropped_bytes = 0;
}

void pc_output_report(struct pc_output *o, int64_t now_ms) {
    int64_t at = pc_output_report_at(o);
    if (at != 0 && now_ms >= at) {
        report(o);
        o->report_at = now_ms + REPORT_MS;
    }
}

void pc_output_finish(struct pc_output *o) {
    while (o->ring.used > 0) {
        pc_ring_drop(&o->ring);
    }
    if (o->ring.dropped_lines > 0 && !o->closed) {
        report(o);
    }
}

void pc_output_note(struct pc_output *o, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    pc_output_line(o, 0, STDERR_FILENO, (const uint8_t *)text, len);
}

void pc_output_credit(struct pc_output *o, uint64_t bytes) {
    o->credit = UINT64_MAX - o->credit < bytes ? UINT64_MAX : o->credit + bytes;
}

static bool line_allowed(const struct pc_output *o, struct pc_line *line) {
    return pc_ring_peek(&o->ring, line) && o->credit >= (uint64_t)line->len + PC_LINE_COST;
}

static void take_line(struct pc_output *o, const struct pc_line *line) {
    uint8_t bytes[PC_LINE_MAX];
    size_t mark;
    pc_ring_pop(&o->ring, bytes);
    struct pc_writer *w = pc_output_begin(o, 4, "log", &mark);
    pc_write_uint(w, line->wid);
    pc_write_uint(w, line->fd);
    pc_write_bin(w, bytes, line->len);
    pc_output_end(o, mark);
    o->credit -= (uint64_t)line->len + PC_LINE_COST;
}

/* A reader that is always a little behind must not make the queue grow for ever. */
static void compact(struct pc_output *o) {
    if (o->sent > KEEP && o->sent > o->queue.len / 2) {
        o->queue.len -= o->sent;
        memmove(o->queue.data, o->queue.data + o->sent, o->queue.len);
        o->sent = 0;
    }
}

bool pc_output_pending(const struct pc_output *o) {
    struct pc_line line;
    return !o->closed && (o->queue.len > o->sent || line_allowed(o, &line));
}

void pc_output_discard(struct pc_output *o) {
    o->closed = true;
    o->ring.used = 0;
    reset(o);
}

void pc_output_flush(struct pc_output *o) {
    struct pc_line line;
    while (pc_output_pending(o)) {
        if (o->sent == o->queue.len) {
            reset(o);
            while (o->queue.len < BATCH && line_allowed(o, &line)) {
                take_line(o, &line);
            }
        }
        ssize_t n = write(o->fd, o->queue.data + o->sent, o->queue.len - o->sent);
        if (n >= 0) {
            o->sent += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            compact(o);
            return;
        } else if (errno != EINTR) {
            pc_output_discard(o);
            return;
        }
    }
    if (o->sent == o->queue.len) {
        reset(o);
    }
}
