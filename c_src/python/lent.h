#ifndef PC_PYTHON_LENT_H
#define PC_PYTHON_LENT_H

/*
 * What one answer has in segments of our own instead of in its frame. Each payload is copied once, into memory that no code of the
 * user's has a pointer to, or was written there to begin with (blocks.h). Nothing is lent before the whole frame is there.
 */

#include <stdbool.h>

#include "encoder.h"
#include "loans.h"
#include "wire/segment.h"

struct pc_lent_part;

struct pc_lent {
    struct pc_buffers *home;    /* held; NULL while there is nothing */
    struct pc_lent_part *parts; /* owned */
    uint32_t count;
    size_t bytes; /* in segments, which count as those in the frame do */
};

/*
 * Writes a payload as extension 15, with its bytes in a segment. False, and nothing is written: it is too small for that, must not be, or
 * there is no segment. The bytes must stay as they are: the GIL may be let go of while they are copied.
 */
bool pc_lent_write(struct pc_encoder *e, enum pc_segment_kind kind, const void *bytes, size_t n);

/* The same for a block, which is owned until the end of the frame. 0: not written; -1: an exception, it is in another answer already. */
int pc_lent_write_block(struct pc_encoder *e, PyObject *block);

/* Everything but the first parts is not part of the frame after all. */
void pc_lent_undo(struct pc_lent *l, uint32_t parts);

/* The names, at the end of the frame. */
void pc_lent_write_footer(const struct pc_lent *l, struct pc_writer *w);

/* The frame is complete: the VM may read what it names. Or there will be no such frame. */
void pc_lent_commit(struct pc_lent *l);
void pc_lent_cancel(struct pc_lent *l);

#endif
