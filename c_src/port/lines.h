#ifndef PC_PORT_LINES_H
#define PC_PORT_LINES_H

/*
 * What processes print, cut into lines and kept in bounded memory. Pure: no descriptor, no clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PC_LINE_MAX = 8 * 1024,         /* bytes of a line; what is longer goes on in the next one */
    PC_RING_SIZE = 2 * 1024 * 1024, /* bytes kept, the ring's own headers included: four bursts (rate.h) */
};

/* A line without its newline; borrowed by whoever is called. */
typedef void (*pc_line_fn)(const uint8_t *line, size_t n, void *context);

/* The beginning of a line whose end has not come. All zero is empty. */
struct pc_splitter {
    size_t len;
    uint8_t partial[PC_LINE_MAX];
};

/*
 * Takes the next bytes and calls `each` with every line they complete. The lines do not depend on how the bytes were
 * chunked. A line that is too long is cut before a UTF-8 character rather than in it.
 */
void pc_splitter_feed(struct pc_splitter *s, const uint8_t *bytes, size_t n, pc_line_fn each, void *context);

/* There will be no more bytes: a last line without newline is one too. */
void pc_splitter_flush(struct pc_splitter *s, pc_line_fn each, void *context);

/* Lines on their way to the VM. When it is full the oldest go, and are counted. All zero is empty. */
struct pc_ring {
    size_t head; /* of the oldest */
    size_t used;
    uint64_t dropped_lines;
    uint64_t dropped_bytes;
    uint8_t data[PC_RING_SIZE];
};

struct pc_line {
    uint32_t wid;
    uint8_t fd;
    uint16_t len;
};

/* n is at most PC_LINE_MAX. */
void pc_ring_push(struct pc_ring *ring, uint32_t wid, uint8_t fd, const uint8_t *line, size_t n);

/* The oldest line's description; false when there is none. */
bool pc_ring_peek(const struct pc_ring *ring, struct pc_line *line);

/* Drops the oldest line, and counts it. There must be one. */
void pc_ring_drop(struct pc_ring *ring);

/* Copies the oldest line's bytes out (PC_LINE_MAX always suffice) and forgets it. There must be one. */
void pc_ring_pop(struct pc_ring *ring, uint8_t *bytes);

#endif
