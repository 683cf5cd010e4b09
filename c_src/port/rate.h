#ifndef PC_PORT_RATE_H
#define PC_PORT_RATE_H

/*
 * How fast one process may print to one of its streams: so much at once, then so much a second, in the cost of lines as credit counts
 * it. What is beyond that is dropped before it can push out other lines (a traceback behind a flood, what other processes say),
 * or keep the VM busy with nothing else. Pure: the clock is the caller's.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    PC_RATE_BURST = 512 * 1024,
    PC_RATE_PER_SECOND = 256 * 1024,
};

/* All zero: nothing was printed yet. */
struct pc_rate {
    int64_t at; /* milliseconds: the last question; 0 is never */
    uint64_t spent;
};

/* Whether so much may be printed now; then it is counted. */
bool pc_rate_allows(struct pc_rate *r, int64_t now_ms, uint64_t cost);

#endif
