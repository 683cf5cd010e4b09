/* Receiving and sending frames. Must not block, parse payloads or keep a large buffer for a small frame. */
#include "wire/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/reader.h"
#include "wire/kinds.h"

enum { BASE = 8 * 1024, KEEP = 256 * 1024 };

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
    pc_writer_init(&out->w, NULL, 0, 0, pc_grow_malloc, NULL);
    out->sent = 0;
    out->total = 0;
}

void pc_outbox_destroy(struct pc_outbox *out) {
    free(out->w.data);
    pc_outbox_init(out);
}

size_t pc_outbox_begin(struct pc_outbox *out, size_t max_frame) {
    out->w.grow = pc_grow_malloc; /* again each time: the library that began the outbox may have been replaced */
    out->w.max = out->w.len + PC_FRAME_HEADER + max_frame;
    return pc_write_frame_begin(&out->w);
}

enum pc_status pc_outbox_end(struct pc_outbox *out, size_t mark) {
    pc_write_frame_end(&out->w, mark);
    enum pc_status status = out->w.status;
    if (status != PC_OK) {
        pc_outbox_undo(out, mark);
    }
    return status;
}

static void drop_sent(struct pc_outbox *out) {
    if (out->sent < out->w.len) {
        return;
    }
    out->sent = out->w.len = 0;
    if (out->w.cap > KEEP) {
        free(out->w.data);
        out->w.data = NULL;
        out->w.cap = 0;
    }
}

void pc_outbox_undo(struct pc_outbox *out, size_t mark) {
    out->w.len = mark;
    out->w.status = PC_OK;
    drop_sent(out);
}

enum pc_io pc_outbox_flush(struct pc_outbox *out, int fd) {
    while (out->sent < out->w.len) {
        ssize_t put = send(fd, out->w.data + out->sent, out->w.len - out->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put >= 0) {
            out->sent += (size_t)put;
            out->total += (uint64_t)put;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return PC_IO_AGAIN;
        } else if (errno != EINTR) {
            return PC_IO_EOF;
        }
    }
    drop_sent(out);
    return PC_IO_DONE;
}
