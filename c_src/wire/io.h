#ifndef PC_WIRE_IO_H
#define PC_WIRE_IO_H

/*
 * Frames over a non-blocking stream socket: bytes in until a frame is whole, bytes out until the socket has taken
 * them. Memory is malloc's. One thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"

enum pc_io {
    PC_IO_DONE,  /* a whole frame is there; everything is written */
    PC_IO_AGAIN, /* the socket would block */
    PC_IO_MORE,  /* this turn's share is used up; there may be more at once */
    PC_IO_EOF,   /* the other end is gone */
    PC_IO_BAD,   /* a length above the limit, or no memory for the frame */
};

struct pc_inbox {
    uint8_t *data;
    size_t start; /* first byte not consumed */
    size_t end;   /* after the last byte received */
    size_t cap;
    uint64_t total; /* bytes received in all */
};

void pc_inbox_init(struct pc_inbox *in);
void pc_inbox_destroy(struct pc_inbox *in);

/*
 * Looks for a whole frame and reads from the socket while there is none, at most `share` bytes.
 * PC_IO_DONE: *payload is borrowed until pc_inbox_consume. Memory grows with what has arrived, not with what a length says.
 */
enum pc_io pc_inbox_read(struct pc_inbox *in, int fd, size_t max_frame, size_t share, const uint8_t **payload,
                         size_t *n);

/* Bytes that did not come over the socket, behind those that did. False when out of memory. */
bool pc_inbox_append(struct pc_inbox *in, const uint8_t *bytes, size_t n);

/*
 * Gives away the frame that pc_inbox_read gave, with the memory that it lies in: free(3) *data. Bytes behind it stay. False,
 * with nothing changed, when out of memory.
 */
bool pc_inbox_take(struct pc_inbox *in, uint8_t **data);

/* Drops the frame that pc_inbox_read gave, and memory that only a large frame needed. */
void pc_inbox_consume(struct pc_inbox *in);

/* Whether a whole frame is there, so that pc_inbox_read does not ask the socket. */
bool pc_inbox_whole(const struct pc_inbox *in);

/* Whether part of a frame is there. */
static inline int pc_inbox_partial(const struct pc_inbox *in) { return in->end > in->start; }

/* Bytes of somebody else's that are sent behind the first `at` of the writer's own. */
struct pc_part {
    size_t at;
    const uint8_t *data;
    size_t n;
};

struct pc_outbox {
    struct pc_writer w; /* frames, each begun and ended with pc_write_frame_begin/_end */
    struct pc_part *parts;
    size_t parts_count;
    size_t parts_cap;
    size_t parts_bytes;
    size_t parts_sent;       /* how many are out entirely */
    size_t parts_sent_bytes; /* of those */
    size_t sent;             /* of the writer and the parts together */
    uint64_t total;          /* bytes sent in all */
};

void pc_outbox_init(struct pc_outbox *out);
void pc_outbox_destroy(struct pc_outbox *out);

/* Ready to append one more frame of at most max_frame bytes of payload. Returns the mark to give to _end or _undo. */
size_t pc_outbox_begin(struct pc_outbox *out, size_t max_frame);
/* Closes the frame. When the writer has failed, undoes it and returns the status. */
enum pc_status pc_outbox_end(struct pc_outbox *out, size_t mark);
void pc_outbox_undo(struct pc_outbox *out, size_t mark);

/*
 * Within a frame, in the order in which they were written: a part that is not copied and must stay as it is until nothing is
 * pending. False when out of memory.
 */
bool pc_outbox_part(struct pc_outbox *out, const struct pc_part *part);

enum pc_io pc_outbox_flush(struct pc_outbox *out, int fd);
/* The same, with descriptors, which stay the caller's, beside the first byte, if there are any. PC_IO_AGAIN with nothing sent: nor were those. */
enum pc_io pc_outbox_flush_with(struct pc_outbox *out, int fd, const int *descriptors, size_t count);
static inline size_t pc_outbox_pending(const struct pc_outbox *out) {
    return out->w.len + out->parts_bytes - out->sent;
}

#endif
