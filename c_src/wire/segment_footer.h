#ifndef PC_WIRE_SEGMENT_FOOTER_H
#define PC_WIRE_SEGMENT_FOOTER_H

/*
 * The names of all segments that a frame speaks of, at its end: two more elements of its array, a bin of the names and their
 * number, so that whoever drops a frame without reading it can let go of them. In a call they stand behind the deadline, in a reply
 * behind the number of references, which is there then.
 */

#include <stdbool.h>

#include "codec/writer.h"
#include "wire/segment.h"

/* What a payload is, in its place in the frame: extension PC_EXT_SEGMENT holds this byte and the name. */
enum pc_segment_kind {
    PC_SEGMENT_BIN = 0,
    PC_SEGMENT_STR = 1,
    PC_SEGMENT_ARROW = 2, /* an Arrow IPC stream */
};
enum { PC_SEGMENT_PAYLOAD = 1 + PC_SEGMENT_NAME };

void pc_segment_payload_write(struct pc_writer *w, enum pc_segment_kind kind, const struct pc_segment_name *name);

enum {
    PC_SEGMENT_CALL_COUNT =
        9, /* elements of a call with a footer: kind, id, tool, args, kwargs, meta, deadline, names, number */
    PC_SEGMENT_REPLY_COUNT = 7, /* of a reply: kind, id, python_ns, value, references, names, number */
};

void pc_segment_footer_write(struct pc_writer *w, const struct pc_segment_name *names, uint32_t count);

struct pc_segment_footer {
    const uint8_t *names; /* `count` times PC_SEGMENT_NAME bytes */
    uint32_t count;
    size_t size; /* of the whole footer, in bytes */
};

/* Of a frame's payload that has one. False if what stands there is none. */
bool pc_segment_footer_read(const uint8_t *payload, size_t n, struct pc_segment_footer *footer);

/* The name of that number, below `count`. */
void pc_segment_footer_name(const struct pc_segment_footer *footer, uint32_t i, struct pc_segment_name *name);

/* The frame is dropped: whatever it names goes back to the writer, unless it is out. */
void pc_views_refuse(struct pc_views *views, const struct pc_segment_footer *footer);

#endif
