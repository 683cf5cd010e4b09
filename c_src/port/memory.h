#ifndef PC_PORT_MEMORY_H
#define PC_PORT_MEMORY_H

/*
 * Memory that is there. The port asks for little, and cannot keep its promises without it: when there is none it ends, and
 * the guard, which allocates nothing while it waits, sweeps.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PC_EXIT_NO_MEMORY = 71 };

static inline void *pc_must(void *memory) {
    if (memory == NULL) {
        _exit(PC_EXIT_NO_MEMORY);
    }
    return memory;
}

/* Zeroed; free with free(3). */
static inline void *pc_alloc(size_t n) { return pc_must(calloc(1, n)); }

/* An array of `count` items of `size` bytes made larger; the new part is not zeroed. */
static inline void *pc_realloc(void *memory, size_t count, size_t size) {
    return pc_must(reallocarray(memory, count, size));
}

/* A copy of n bytes with a NUL behind them. */
static inline char *pc_copy(const void *bytes, size_t n) {
    char *copy = pc_alloc(n + 1);
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

#endif
