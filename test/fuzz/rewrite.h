#ifndef PC_FUZZ_REWRITE_H
#define PC_FUZZ_REWRITE_H

/* Reads one value and writes it again, canonically: what decode and encode do, without a term in between. */

#include "codec/reader.h"
#include "codec/writer.h"

/* False: the value is refused. `depth` is what is left of PC_MAX_DEPTH. */
static inline bool pc_rewrite(struct pc_reader *r, struct pc_writer *w, unsigned depth) {
    struct pc_token t;
    if (pc_reader_next(r, &t) != PC_OK) {
        return false;
    }
    uint64_t inside = 0;
    switch (t.type) {
    case PC_NIL:
        pc_write_nil(w);
        break;
    case PC_BOOL:
        pc_write_bool(w, t.b);
        break;
    case PC_INT:
        pc_write_int(w, t.i);
        break;
    case PC_UINT:
        pc_write_uint(w, t.u);
        break;
    case PC_FLOAT:
        pc_write_double(w, t.f);
        break;
    case PC_STR:
        pc_write_str(w, t.data, t.len);
        break;
    case PC_BIN:
        pc_write_bin(w, t.data, t.len);
        break;
    case PC_EXT:
        pc_write_ext(w, t.ext, t.data, t.len);
        break;
    case PC_ARRAY:
        pc_write_array(w, t.len);
        inside = t.len;
        break;
    case PC_MAP:
        pc_write_map(w, t.len);
        inside = 2 * (uint64_t)t.len;
        break;
    }
    if (inside > 0 && depth == 0) {
        return false;
    }
    for (uint64_t i = 0; i < inside; i++) {
        if (!pc_rewrite(r, w, depth - 1)) {
            return false;
        }
    }
    return true;
}

#endif
