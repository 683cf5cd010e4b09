/*
 * The growing buffer of writer.h: room and the sticky error. Knows nothing of MessagePack.
 *
 * Invariants: len <= cap; len <= max; once status is not PC_OK nothing is written and grow is not called.
 */

#include "writer.h"

#include <stdlib.h>

enum { SMALLEST = 256 };

void pc_writer_init(struct pc_writer *w, uint8_t *data, size_t cap, size_t max, pc_grow_fn grow, void *owner) {
    w->data = data;
    w->len = 0;
    /* Memory beyond max may not be filled, so the claim needs no second comparison. */
    w->cap = cap < max ? cap : max;
    w->max = max;
    w->status = PC_OK;
    w->grow = grow;
    w->owner = owner;
}

bool pc_grow_malloc(struct pc_writer *w, size_t need) {
    uint8_t *data = realloc(w->data, need);
    if (data == NULL) {
        return false;
    }
    w->data = data;
    w->cap = need;
    return true;
}

/*
 * Four times the capacity, or what is needed if that is more, never past max. What is not written to is not mapped in; what is, is
 * copied into fresh pages at each step, which for large output costs more than packing it.
 */
static size_t next_capacity(const struct pc_writer *w, size_t need) {
    size_t more = w->cap > SIZE_MAX / 4 ? SIZE_MAX : w->cap * 4;
    size_t size = more > need ? more : need;
    if (size < SMALLEST) {
        size = SMALLEST;
    }
    return size < w->max ? size : w->max;
}

bool pc_writer_reserve(struct pc_writer *w, size_t n) {
    if (w->status != PC_OK) {
        return false;
    }
    if (w->cap - w->len >= n) {
        return true;
    }
    if (w->max - w->len < n) {
        w->status = PC_TOO_BIG;
        return false;
    }
    if (w->grow == NULL || !w->grow(w, next_capacity(w, w->len + n))) {
        w->status = PC_NO_MEMORY;
        return false;
    }
    if (w->cap > w->max) {
        w->cap = w->max;
    }
    return true;
}
