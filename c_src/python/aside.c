/* See aside.h. */

#include "aside.h"

#include "wire/json_frame.h"

enum pc_io pc_aside_read(struct pc_server *s) {
    struct pc_inbox *in = &s->to.in;
    const uint8_t *payload;
    size_t n;
    enum pc_io io = pc_inbox_read(in, s->to.fd, s->to.max_frame, SIZE_MAX, &payload, &n);
    if (io != PC_IO_DONE) {
        return io;
    }
    int heard = pc_frame_is_json(payload, n) ? 0 : pc_server_hear(s, payload, n);
    if (heard == 0) {
        if (!pc_inbox_append(&s->later, payload - PC_FRAME_HEADER, PC_FRAME_HEADER + n)) {
            return PC_IO_BAD;
        }
        pc_inbox_consume(in);
    }
    return heard < 0 ? PC_IO_BAD : PC_IO_DONE;
}

int pc_aside_take_back(struct pc_server *s) {
    struct pc_inbox *in = &s->to.in;
    if (s->later.end == 0) {
        return 0;
    }
    if (!pc_inbox_append(&s->later, in->data + in->start, in->end - in->start)) {
        (void)PyErr_NoMemory();
        return -1;
    }
    s->later.total = in->total;
    pc_inbox_destroy(in);
    *in = s->later;
    pc_inbox_init(&s->later);
    return 0;
}
