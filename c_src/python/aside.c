/* See aside.h. */

#include "aside.h"

#include "wire/json_frame.h"
#include "wire/kinds.h"

static bool is_inner(const uint8_t *payload, size_t n) {
    if (pc_frame_is_json(payload, n)) {
        struct pc_json_head head;
        return pc_json_head_read(payload, n, &head) && head.kind == PC_KIND_INNER;
    }
    struct pc_reader r;
    uint32_t count;
    int64_t kind;
    pc_reader_init(&r, payload, n);
    return pc_read_array(&r, &count) == PC_OK && count > 0 && pc_read_int(&r, &kind) == PC_OK && kind == PC_KIND_INNER;
}

/* What is no answer, and nothing about a stream. */
static enum pc_io put_aside(struct pc_server *s, const uint8_t *payload, size_t n) {
    bool inner = is_inner(payload, n);
    if (!pc_inbox_append(inner ? &s->inner : &s->later, payload - PC_FRAME_HEADER, PC_FRAME_HEADER + n)) {
        return PC_IO_BAD;
    }
    pc_inbox_consume(&s->to.in);
    if (inner && s->on_inner != NULL) {
        s->on_inner();
    }
    return PC_IO_DONE;
}

enum pc_io pc_aside_read(struct pc_server *s) {
    struct pc_inbox *in = &s->to.in;
    const uint8_t *payload;
    size_t n;
    enum pc_io io = pc_inbox_read(in, s->to.fd, s->to.max_frame, SIZE_MAX, &payload, &n);
    if (io != PC_IO_DONE) {
        return io;
    }
    int heard = pc_frame_is_json(payload, n) ? 0 : pc_server_hear(s, payload, n);
    return heard == 0 ? put_aside(s, payload, n) : heard < 0 ? PC_IO_BAD : PC_IO_DONE;
}

/* `behind` comes behind `first`, and takes its place. */
static int put_in_front(struct pc_inbox *first, struct pc_inbox *behind) {
    if (first->start == first->end) {
        return 0;
    }
    if (!pc_inbox_append(first, behind->data + behind->start, behind->end - behind->start)) {
        (void)PyErr_NoMemory();
        return -1;
    }
    first->total = behind->total;
    pc_inbox_destroy(behind);
    *behind = *first;
    pc_inbox_init(first);
    return 0;
}

/* Calls that were to run inside of it, but that it has waited no more, go first. */
int pc_aside_take_back(struct pc_server *s) {
    return put_in_front(&s->later, &s->to.in) < 0 ? -1 : put_in_front(&s->inner, &s->to.in);
}
