/* What comes on the call channel where many calls run: calls as long as more may run, and what concerns streams and functions all the time. */

#include "aside.h"
#include "crowd.h"

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

void pc_crowd_read(struct pc_crowd *c) {
    struct pc_inbox *in = &c->s.to.in;
    enum pc_next next = PC_GO_ON;
    enum pc_io io = PC_IO_DONE;
    c->paused = false;
    if (!pc_crowd_is_full(c) && pc_aside_take_back(&c->s) < 0) {
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
        do {
            io = pc_aside_read(&c->s);
        } while (io == PC_IO_DONE);
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
