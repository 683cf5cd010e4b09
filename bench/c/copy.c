/*
 * What copying costs by itself: memcpy from memory that has been written to memory that has been written.
 *
 *   copy BYTES TIMES
 *
 * Copies once to warm up, then times TIMES copies one by one and prints their median in nanoseconds. Status 2: wrong usage; 1: no memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIMES_MAX = 10 * 1000 };
static const unsigned long BYTES_MAX = 1UL << 30;

static uint64_t copy_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* A whole decimal number from 1 to `max`, or 0. */
static size_t copy_number(const char *text, unsigned long max) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    return *end || end == text || n > max ? 0 : n;
}

static int copy_compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The compiler may not know that nobody looks at the copy. */
static uint64_t copy_once(char *restrict to, const char *restrict from, size_t bytes) {
    uint64_t start = copy_now_ns();
    memcpy(to, from, bytes);
    __asm__ volatile("" : : "r"(to) : "memory");
    return copy_now_ns() - start;
}

int main(int argc, char **argv) {
    size_t bytes = argc == 3 ? copy_number(argv[1], BYTES_MAX) : 0;
    size_t times = argc == 3 ? copy_number(argv[2], TIMES_MAX) : 0;
    if (!bytes || !times) {
        fputs("usage: copy BYTES TIMES\n", stderr);
        return 2;
    }
    char *from = malloc(bytes), *to = malloc(bytes);
    uint64_t *ns = calloc(times, sizeof *ns);
    int status = 1;
    if (!from || !to || !ns) {
        fputs("copy: no memory\n", stderr);
        goto done;
    }
    for (size_t i = 0; i < bytes; i++)
        from[i] = (char)(i * 31 + (i >> 12));
    memset(to, 1, bytes);
    (void)copy_once(to, from, bytes);
    for (size_t i = 0; i < times; i++)
        ns[i] = copy_once(to, from, bytes);
    qsort(ns, times, sizeof *ns, copy_compare);
    printf("%llu\n", (unsigned long long)ns[times / 2]);
    status = 0;
done:
    free(ns);
    free(to);
    free(from);
    return status;
}
