/*
 * Line splitter and ring of lines.h.
 *
 * Ring: records of a fixed header and the line's bytes lie end to end from `head`, wrapping at the end of `data` at any
 * byte; `used` counts them all. A push always succeeds because one record is far smaller than the ring.
 */

#include "lines.h"

#include <string.h>

/* Where to cut a full buffer: before the character that its end may have split. Bytes that are not UTF-8 are cut anywhere. */
static size_t cut_point(const uint8_t *bytes, size_t n) {
    for (size_t back = 1; back <= 4; back++) {
        uint8_t byte = bytes[n - back];
        if ((byte & 0xC0) == 0x80) {
            continue;
        }
        size_t width = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return width > back ? n - back : n;
    }
    return n;
}

static void cut(struct pc_splitter *s, pc_line_fn each, void *context) {
    size_t n = cut_point(s->partial, s->len);
    each(s->partial, n, context);
    s->len -= n;
    memmove(s->partial, s->partial + n, s->len);
}

void pc_splitter_feed(struct pc_splitter *s, const uint8_t *bytes, size_t n, pc_line_fn each, void *context) {
    const uint8_t *end = bytes + n;
    while (bytes < end) {
        const uint8_t *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        size_t rest = (size_t)((newline != NULL ? newline : end) - bytes);
        if (newline != NULL && s->len == 0 && rest <= PC_LINE_MAX) {
            each(bytes, rest, context);
            bytes = newline + 1;
            continue;
        }
        size_t room = PC_LINE_MAX - s->len;
        size_t take = rest < room ? rest : room;
        memcpy(s->partial + s->len, bytes, take);
        s->len += take;
        bytes += take;
        if (take < rest) {
            cut(s, each, context);
        } else if (newline != NULL) {
            each(s->partial, s->len, context);
            s->len = 0;
            bytes++;
        }
    }
}

void pc_splitter_flush(struct pc_splitter *s, pc_line_fn each, void *context) {
    if (s->len > 0) {
        each(s->partial, s->len, context);
        s->len = 0;
    }
}

static void ring_write(struct pc_ring *ring, const void *bytes, size_t n) {
    size_t tail = (ring->head + ring->used) % PC_RING_SIZE;
    size_t first = n < PC_RING_SIZE - tail ? n : PC_RING_SIZE - tail;
    if (n > 0) {
        memcpy(ring->data + tail, bytes, first);
        memcpy(ring->data, (const uint8_t *)bytes + first, n - first);
    }
    ring->used += n;
}

static void ring_copy(const struct pc_ring *ring, size_t offset, void *bytes, size_t n) {
    size_t from = (ring->head + offset) % PC_RING_SIZE;
    size_t first = n < PC_RING_SIZE - from ? n : PC_RING_SIZE - from;
    memcpy(bytes, ring->data + from, first);
    memcpy((uint8_t *)bytes + first, ring->data, n - first);
}

static void ring_forget(struct pc_ring *ring, const struct pc_line *line) {
    size_t n = sizeof *line + line->len;
    ring->head = (ring->head + n) % PC_RING_SIZE;
    ring->used -= n;
}

void pc_ring_drop(struct pc_ring *ring) {
    struct pc_line line = {0};
    pc_ring_peek(ring, &line);
    ring_forget(ring, &line);
    ring->dropped_lines++;
    ring->dropped_bytes += line.len;
}

void pc_ring_push(struct pc_ring *ring, uint32_t wid, uint8_t fd, const uint8_t *line, size_t n) {
    struct pc_line header = {0};
    while (PC_RING_SIZE - ring->used < sizeof header + n) {
        pc_ring_drop(ring);
    }
    header = (struct pc_line){.wid = wid, .fd = fd, .len = (uint16_t)n};
    ring_write(ring, &header, sizeof header);
    ring_write(ring, line, n);
}

bool pc_ring_peek(const struct pc_ring *ring, struct pc_line *line) {
    if (ring->used == 0) {
        return false;
    }
    ring_copy(ring, 0, line, sizeof *line);
    return true;
}

void pc_ring_pop(struct pc_ring *ring, uint8_t *bytes) {
    struct pc_line line;
    if (pc_ring_peek(ring, &line)) {
        ring_copy(ring, sizeof line, bytes, line.len);
        ring_forget(ring, &line);
    }
}
