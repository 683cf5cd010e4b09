/* See aside.h. */

#include "aside.h"

#include "codec/reader.h"
#include "stream.h"
#include "waiter.h"
#include "wire/json_frame.h"

static bool hear_stream(struct pc_server *s, const uint8_t *payload, size_t n) {
    struct pc_reader r;
    uint32_t count;
    int64_t kind, credit = 0;
    uint64_t id;
    pc_reader_init(&r, payload, n);
    if (s->stream == NULL || pc_read_array(&r, &count) != PC_OK || count < 2 || pc_read_int(&r, &kind) != PC_OK ||
        pc_read_uint(&r, &id) != PC_OK) {
        return false;
    }
    if (count > 2 && kind == PC_KIND_CREDIT && pc_read_int(&r, &credit) != PC_OK) {
        credit = 0;
    }
    return pc_stream_hear(s->stream, kind, id, credit);
}

static bool hear(struct pc_server *s, const uint8_t *payload, size_t n) {
    return !pc_frame_is_json(payload, n) &&
           (pc_waiter_hear_frame(payload, n, s->to.max_depth) || hear_stream(s, payload, n));
}

enum pc_io pc_aside_read(struct pc_server *s) {
    struct pc_inbox *in = &s->to.in;
    const uint8_t *payload;
    size_t n;
    enum pc_io io;
    while ((io = pc_inbox_read(in, s->to.fd, s->to.max_frame, SIZE_MAX, &payload, &n)) == PC_IO_DONE) {
        if (!hear(s, payload, n) && !pc_inbox_append(&s->later, payload - PC_FRAME_HEADER, PC_FRAME_HEADER + n)) {
            return PC_IO_BAD;
        }
        pc_inbox_consume(in);
    }
    return io;
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
