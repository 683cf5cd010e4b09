#ifndef PC_NIF_NOTE_H
#define PC_NIF_NOTE_H

/* A small frame of ours that is no call, on its way to a lane's worker. */

#include "wire/dispatch.h"

enum { PC_NOTE = 512 }; /* bytes */

struct pc_note {
    uint8_t bytes[PC_NOTE];
    struct pc_writer w;
    size_t mark;
};

/* Where its payload is written. */
static inline struct pc_writer *pc_note_begin(struct pc_note *note) {
    pc_writer_init(&note->w, note->bytes, sizeof note->bytes, sizeof note->bytes, NULL, NULL);
    note->mark = pc_write_frame_begin(&note->w);
    return &note->w;
}

/* As pc_lane_append. */
static inline bool pc_note_append(struct pc_note *note, struct pc_lane *lane, bool only_idle) {
    pc_write_frame_end(&note->w, note->mark);
    return pc_lane_append(lane, note->w.data, note->w.len, only_idle);
}

#endif
