#ifndef PC_WIRE_SPIN_H
#define PC_WIRE_SPIN_H

/*
 * Whether to poll for the next frame or to sleep until it is there. Waking up costs tens of microseconds, polling costs the
 * processor; so polling is for those who were told to (`limit_ns`), and as long as it succeeds: each time it was in vain twice as
 * many waits are slept through before the next try, so that on a busy machine, or with slow tools, it costs next to nothing.
 */

#include <stdbool.h>
#include <stdint.h>

enum { PC_SPIN_MOST_SKIPPED = 256 };

struct pc_spin {
    int64_t limit_ns; /* the longest poll; 0: never */
    unsigned skip;    /* waits to sleep through before the next try */
    unsigned penalty; /* what skip was set to last; 0 after a success */
};

/* Once for each wait: whether to poll first. If so, pc_spin_done is told how it went. */
static inline bool pc_spin_pays(struct pc_spin *s) {
    if (s->limit_ns == 0) {
        return false;
    }
    if (s->skip > 0) {
        s->skip--;
        return false;
    }
    return true;
}

static inline void pc_spin_done(struct pc_spin *s, bool in_vain) {
    unsigned next = s->penalty == 0 ? 1 : 2 * s->penalty;
    s->penalty = !in_vain ? 0 : next < PC_SPIN_MOST_SKIPPED ? next : PC_SPIN_MOST_SKIPPED;
    s->skip = s->penalty;
}

#endif
