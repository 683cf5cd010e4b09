/* What comes on the call channel where many calls run: calls as long as more may run, and what concerns streams and functions all the time. */

#include "crowd.h"
#include "crowd_stream.h"
#include "waiter.h"
#include "wire/json_frame.h"

enum { SHARE = 1024 * 1024 }; /* bytes of input in one go, so that the loop gets its turn */

static bool prepare_spare(struct pc_crowd *c) {
    if (c->spare == NULL) {
        c->spare = PyMem_Calloc(1, sizeof *c->spare);
        if (c->spare == NULL) {
            (void)PyErr_NoMemory();
            return false;
        }
        c->spare->crowd = c;
    }
    return true;
}

/* What came while no more calls could begin is next, and what came behind it. */
static bool take_back(struct pc_crowd *c) {
    struct pc_inbox *in = &c->s.to.in;
    if (c->later.end == 0) {
        return true;
    }
    if (!pc_inbox_append(&c->later, in->data + in->start, in->end - in->start)) {
        return false;
    }
    c->later.total = in->total;
    pc_inbox_destroy(in);
    *in = c->later;
    pc_inbox_init(&c->later);
    return true;
}

static bool hear(struct pc_crowd *c, const uint8_t *payload, size_t n) {
    return !pc_frame_is_json(payload, n) &&
           (pc_waiter_hear_frame(payload, n, c->s.to.max_depth) || pc_crowd_stream_hear_frame(c, payload, n));
}

/* As many calls run as may: only what the VM says of streams and functions is heard. */
static enum pc_io read_aside(struct pc_crowd *c) {
    struct pc_inbox *in = &c->s.to.in;
    const uint8_t *payload;
    size_t n;
    enum pc_io io = PC_IO_DONE;
    while (io == PC_IO_DONE &&
           (io = pc_inbox_read(in, c->s.to.fd, c->s.to.max_frame, SIZE_MAX, &payload, &n)) == PC_IO_DONE) {
        if (!hear(c, payload, n) && !pc_inbox_append(&c->later, payload - PC_FRAME_HEADER, PC_FRAME_HEADER + n)) {
            io = PC_IO_BAD;
        } else {
            pc_inbox_consume(in);
        }
    }
    return io;
}

void pc_crowd_read(struct pc_crowd *c) {
    struct pc_inbox *in = &c->s.to.in;
    enum pc_next next = PC_GO_ON;
    enum pc_io io = PC_IO_DONE;
    c->paused = false;
    if (!pc_crowd_is_full(c) && !take_back(c)) {
        (void)PyErr_NoMemory();
        next = PC_RAISED;
    }
    const uint64_t first = in->total;
    while (next == PC_GO_ON && c->next == PC_GO_ON && !pc_crowd_is_full(c)) {
        const uint8_t *payload;
        size_t n;
        size_t used = (size_t)(in->total - first);
        io = pc_inbox_read(in, c->s.to.fd, c->s.to.max_frame, used < SHARE ? SHARE - used : 0, &payload, &n);
        if (io != PC_IO_DONE) {
            break;
        }
        next = prepare_spare(c) ? pc_server_frame(&c->s, &c->spare->q, payload, n) : PC_RAISED;
    }
    c->paused = pc_crowd_is_full(c);
    if (c->paused && c->streams + c->listeners > 0 && next == PC_GO_ON) {
        io = read_aside(c);
    }
    if (io == PC_IO_BAD) {
        PyErr_SetString(pc_ProtocolError, "a frame is larger than the limit, or than the memory there is");
        next = PC_RAISED;
    } else if (io == PC_IO_EOF) {
        next = PC_END_OF_FILE;
    }
    if (next != PC_GO_ON) {
        pc_crowd_end(c, next);
    }
}
