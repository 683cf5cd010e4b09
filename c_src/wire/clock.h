#ifndef PC_WIRE_CLOCK_H
#define PC_WIRE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* A deadline of a call that has none; otherwise a moment of the clock below, which is the same one in the VM and in its workers. */
#define PC_NO_DEADLINE INT64_MAX

/* Nanoseconds of a clock that nobody sets, since some moment in the past. Async-signal-safe. */
static inline int64_t pc_clock_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
