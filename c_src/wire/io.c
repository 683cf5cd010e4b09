/* Receiving and sending frames. Must not block, parse payloads or keep a large buffer for a small frame. */
#include "wire/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "codec/reader.h"
#include "wire/descriptor.h"
#include "wire/kinds.h"

enum { BASE = 8 * 1024, KEEP = 256 * 1024, FEW_PARTS = 16, MOST_PIECES = 32 };

void pc_inbox_init(struct pc_inbox *in) { memset(in, 0, sizeof *in); }

void pc_inbox_destroy(struct pc_inbox *in) {
    free(in->data);
    pc_inbox_init(in);
}

/* Room for at least one more byte towards a frame of `want` bytes in all. */
static int make_room(struct pc_inbox *in, size_t want) {
    if (in->start > 0 && in->cap - in->start < want) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    if (in->end < in->cap) {
        return 0;
    }
    size_t cap = in->cap == 0 ? BASE : in->cap * 2;
    if (cap > want && want > BASE && want > in->cap) {
        cap = want;
    }
    uint8_t *data = realloc(in->data, cap);
    if (data == NULL) {
        return -1;
    }
    in->data = data;
    in->cap = cap;
    return 0;
}

enum pc_io pc_inbox_read(struct pc_inbox *in, int fd, size_t max_frame, size_t share, const uint8_t **payload,
                         size_t *n) {
    for (;;) {
        size_t have = in->end - in->start;
        size_t want = PC_FRAME_HEADER;
        if (have >= PC_FRAME_HEADER) {
            size_t length = pc_frame_length(in->data + in->start);
            if (length > max_frame) {
                return PC_IO_BAD;
            }
            want += length;
            if (have >= want) {
                *payload = in->data + in->start + PC_FRAME_HEADER;
                *n = length;
                return PC_IO_DONE;
            }
        }
        if (share == 0) {
            return PC_IO_MORE;
        }
        if (make_room(in, want) != 0) {
            return PC_IO_BAD;
        }
        size_t room = in->cap - in->end;
        ssize_t got = recv(fd, in->data + in->end, room < share ? room : share, MSG_DONTWAIT);
        if (got > 0) {
            in->end += (size_t)got;
            in->total += (uint64_t)got;
            share -= (size_t)got;
        } else if (got == 0) {
            return PC_IO_EOF;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return PC_IO_AGAIN;
        } else if (errno != EINTR) {
            return PC_IO_EOF;
        }
    }
}

bool pc_inbox_whole(const struct pc_inbox *in) {
    size_t have = in->end - in->start;
    return have >= PC_FRAME_HEADER && have - PC_FRAME_HEADER >= pc_frame_length(in->data + in->start);
}

bool pc_inbox_append(struct pc_inbox *in, const uint8_t *bytes, size_t n) {
    if (in->cap - in->end < n) {
        uint8_t *data = realloc(in->data, in->end + n);
        if (data == NULL) {
            return false;
        }
        in->data = data;
        in->cap = in->end + n;
    }
    memcpy(in->data + in->end, bytes, n);
    in->end += n;
    in->total += (uint64_t)n;
    return true;
}

bool pc_inbox_take(struct pc_inbox *in, uint8_t **data) {
    size_t end = in->start + PC_FRAME_HEADER + pc_frame_length(in->data + in->start);
    size_t behind = in->end - end;
    uint8_t *rest = NULL;
    if (behind > 0) {
        rest = malloc(behind);
        if (rest == NULL) {
            return false;
        }
        memcpy(rest, in->data + end, behind);
    }
    *data = in->data;
    in->data = rest;
    in->start = 0;
    in->end = in->cap = behind;
    return true;
}

void pc_inbox_consume(struct pc_inbox *in) {
    in->start += PC_FRAME_HEADER + pc_frame_length(in->data + in->start);
    if (in->start < in->end) {
        return;
    }
    in->start = in->end = 0;
    if (in->cap > KEEP) {
        free(in->data);
        in->data = NULL;
        in->cap = 0;
    }
}

void pc_outbox_init(struct pc_outbox *out) {
    memset(out, 0, sizeof *out);
    pc_writer_init(&out->w, NULL, 0, 0, pc_grow_malloc, NULL);
}

void pc_outbox_destroy(struct pc_outbox *out) {
    free(out->w.data);
    free(out->parts);
    pc_outbox_init(out);
}

size_t pc_outbox_begin(struct pc_outbox *out, size_t max_frame) {
    out->w.grow = pc_grow_malloc; /* again each time: the library that began the outbox may have been replaced */
    out->w.max = out->w.len + PC_FRAME_HEADER + max_frame;
    return pc_write_frame_begin(&out->w);
}

bool pc_outbox_part(struct pc_outbox *out, const struct pc_part *part) {
    if (out->parts_count == out->parts_cap) {
        size_t cap = out->parts_cap == 0 ? FEW_PARTS : 2 * out->parts_cap;
        struct pc_part *parts = realloc(out->parts, cap * sizeof *parts);
        if (parts == NULL) {
            return false;
        }
        out->parts = parts;
        out->parts_cap = cap;
    }
    out->parts[out->parts_count++] = *part;
    out->parts_bytes += part->n;
    return true;
}

/* Bytes of the parts behind a mark, which are the last ones. */
static size_t parts_behind(const struct pc_outbox *out, size_t mark, size_t *first) {
    size_t bytes = 0;
    for (*first = out->parts_count; *first > 0 && out->parts[*first - 1].at > mark; --*first) {
        bytes += out->parts[*first - 1].n;
    }
    return bytes;
}

enum pc_status pc_outbox_end(struct pc_outbox *out, size_t mark) {
    size_t first;
    pc_write_frame_end_apart(&out->w, mark, parts_behind(out, mark, &first));
    enum pc_status status = out->w.status;
    if (status != PC_OK) {
        pc_outbox_undo(out, mark);
    }
    return status;
}

static void drop_sent(struct pc_outbox *out) {
    if (pc_outbox_pending(out) > 0) {
        return;
    }
    out->sent = out->w.len = 0;
    out->parts_count = out->parts_bytes = out->parts_sent = out->parts_sent_bytes = 0;
    if (out->w.cap > KEEP) {
        free(out->w.data);
        out->w.data = NULL;
        out->w.cap = 0;
    }
    if (out->parts_cap > FEW_PARTS) {
        free(out->parts);
        out->parts = NULL;
        out->parts_cap = 0;
    }
}

void pc_outbox_undo(struct pc_outbox *out, size_t mark) {
    size_t first;
    out->parts_bytes -= parts_behind(out, mark, &first);
    out->parts_count = first;
    out->w.len = mark;
    out->w.status = PC_OK;
    drop_sent(out);
}

/* What is next to send, in pieces; how many pieces. */
static size_t next_pieces(const struct pc_outbox *out, struct iovec pieces[MOST_PIECES]) {
    size_t count = 0;
    size_t i = out->parts_sent;
    size_t at =
        out->sent - out->parts_sent_bytes; /* in the writer, or beyond the place of part i by what is out of it */
    while (count < MOST_PIECES && (i < out->parts_count || at < out->w.len)) {
        size_t end = i < out->parts_count ? out->parts[i].at : out->w.len;
        if (at < end) {
            pieces[count++] = (struct iovec){.iov_base = out->w.data + at, .iov_len = end - at};
            at = end;
            continue;
        }
        const struct pc_part *part = &out->parts[i++];
        size_t out_already = at - part->at;
        pieces[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)(part->data + out_already), .iov_len = part->n - out_already};
        at = part->at;
    }
    return count;
}

static ssize_t send_next(const struct pc_outbox *out, int fd) {
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (out->parts_count == 0) { /* nearly always, and less work for the system */
        return send(fd, out->w.data + out->sent, out->w.len - out->sent, flags);
    }
    struct iovec pieces[MOST_PIECES];
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = next_pieces(out, pieces)};
    return sendmsg(fd, &message, flags);
}

static void count_sent(struct pc_outbox *out, size_t n) {
    out->sent += n;
    out->total += (uint64_t)n;
    while (out->parts_sent < out->parts_count) {
        const struct pc_part *part = &out->parts[out->parts_sent];
        if (out->sent < part->at + out->parts_sent_bytes + part->n) {
            break;
        }
        out->parts_sent_bytes += part->n;
        out->parts_sent++;
    }
}

enum pc_io pc_outbox_flush(struct pc_outbox *out, int fd) {
    while (pc_outbox_pending(out) > 0) {
        ssize_t put = send_next(out, fd);
        if (put >= 0) {
            count_sent(out, (size_t)put);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return PC_IO_AGAIN;
        } else if (errno != EINTR) {
            return PC_IO_EOF;
        }
    }
    drop_sent(out);
    return PC_IO_DONE;
}

enum pc_io pc_outbox_flush_with(struct pc_outbox *out, int fd, const int *descriptors, size_t count) {
    ssize_t put = pc_descriptors_send(fd, out->w.data + out->sent, out->w.len - out->sent, descriptors, count);
    if (put < 0) {
        return put == -EAGAIN || put == -EWOULDBLOCK ? PC_IO_AGAIN : PC_IO_EOF;
    }
    count_sent(out, (size_t)put);
    return pc_outbox_flush(out, fd);
}
