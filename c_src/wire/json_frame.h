#ifndef PC_WIRE_JSON_FRAME_H
#define PC_WIRE_JSON_FRAME_H

/*
 * The ends of a frame that is JSON text (docs/protocol.md, section 1): [kind,id,…] and [kind,id,python_ns,value]. The
 * fields in front are read strictly: decimal digits without a sign, without a leading zero, without white space around them. What
 * stands behind them is not looked at; it is for a parser to read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"

/* Whether a payload is JSON: no MessagePack array begins with that byte. */
static inline bool pc_frame_is_json(const uint8_t *payload, size_t n) { return n > 0 && payload[0] == '['; }

struct pc_json_head {
    int64_t kind;
    uint64_t id;
    size_t end; /* offset behind the id, where a comma or the closing bracket stands */
};

/* False if the payload does not begin with [kind,id and a comma or a bracket. */
bool pc_json_head_read(const uint8_t *payload, size_t n, struct pc_json_head *head);

struct pc_json_answer {
    int64_t python_ns;
    const uint8_t *value; /* borrowed from the payload: all that stands between the third comma and the last bracket */
    size_t size;          /* of the value's text, not 0 */
};

/* What follows the head of a reply or an error; false if that is not python_ns, a value and a bracket. */
bool pc_json_answer_read(const uint8_t *payload, size_t n, const struct pc_json_head *head,
                         struct pc_json_answer *answer);

/* [kind,id, and [kind,id,python_ns, respectively; neither number may be below zero. */
void pc_json_head_write(struct pc_writer *w, int64_t kind, uint64_t id);
void pc_json_answer_write(struct pc_writer *w, int64_t kind, uint64_t id, int64_t python_ns);

/* Text as it is. */
static inline void pc_json_put(struct pc_writer *w, const char *text) { pc_writer_append(w, text, strlen(text)); }

#endif
