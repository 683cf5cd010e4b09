#ifndef PC_WIRE_CALL_HEAD_H
#define PC_WIRE_CALL_HEAD_H

/* What stands in front of the tool in a call's frame, behind the length: [kind, id, in either format. */

#include <stdbool.h>

#include "wire/json_frame.h"
#include "wire/kinds.h"

enum { PC_CALL_FIELDS = 7 }; /* of the frame's array, kind and id included */

/* PC_KIND_CALL or, of one that runs inside of another, PC_KIND_INNER. */
static inline void pc_some_call_head_write(struct pc_writer *w, enum pc_kind kind, bool json, unsigned fields,
                                           uint64_t id) {
    if (json) {
        pc_json_head_write(w, kind, id);
        return;
    }
    pc_write_array(w, fields);
    pc_write_uint(w, kind);
    pc_write_uint(w, id);
}

/* `fields`: PC_CALL_FIELDS or, with names of segments behind them, PC_SEGMENT_CALL_COUNT. */
static inline void pc_call_head_write(struct pc_writer *w, bool json, unsigned fields, uint64_t id) {
    pc_some_call_head_write(w, PC_KIND_CALL, json, fields, id);
}

#endif
