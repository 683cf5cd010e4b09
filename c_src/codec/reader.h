#ifndef PC_CODEC_READER_H
#define PC_CODEC_READER_H

/*
 * Reads MessagePack one token at a time from memory that nobody else writes. Never allocates, never
 * recurses, never believes a length before it has compared it with the bytes that are there: a str, bin or
 * ext token lies wholly inside the input; an array of n has at least n bytes after it, a map at least 2n.
 * So a count may size an allocation in proportion to the input, never beyond.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "limits.h"

enum pc_type {
    PC_NIL,
    PC_BOOL,
    PC_INT,   /* fits int64_t */
    PC_UINT,  /* above INT64_MAX */
    PC_FLOAT, /* float32 or float64 */
    PC_STR,
    PC_BIN,
    PC_ARRAY,
    PC_MAP,
    PC_EXT,
};

struct pc_token {
    enum pc_type type;
    int8_t ext;   /* PC_EXT: its code */
    uint32_t len; /* PC_STR, PC_BIN, PC_EXT: bytes; PC_ARRAY: elements; PC_MAP: pairs */
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double f;
        const uint8_t *data; /* PC_STR, PC_BIN, PC_EXT: borrowed from the input */
    };
};

struct pc_reader {
    const uint8_t *p;
    const uint8_t *end;
};

static inline void pc_reader_init(struct pc_reader *r, const void *data, size_t n) {
    r->p = data;
    r->end = r->p + n;
}

static inline size_t pc_reader_left(const struct pc_reader *r) { return (size_t)(r->end - r->p); }

/* The big-endian length in front of a frame. */
static inline uint32_t pc_frame_length(const uint8_t header[4]) {
    return (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | (uint32_t)header[3];
}

/* Any token. pc_reader_next takes the commonest forms inline, and this for the others. */
enum pc_status pc_reader_next_slow(struct pc_reader *r, struct pc_token *t);

/* Reads the next token. On failure the reader does not move. */
static inline enum pc_status pc_reader_next(struct pc_reader *r, struct pc_token *t) {
    const uint8_t *p = r->p;
    size_t left = pc_reader_left(r);
    if (__builtin_expect(left == 0, 0)) {
        return PC_TRUNCATED;
    }
    uint8_t head = *p;
    if (head < 0x80 || head >= 0xe0) { /* an integer from -32 to 127 */
        t->type = PC_INT;
        t->i = (int8_t)head;
        r->p = p + 1;
        return PC_OK;
    }
    if (head >= 0xa0 && head < 0xc0 && left > (head & 0x1fu)) { /* a str below 32 bytes */
        t->type = PC_STR;
        t->len = head & 0x1fu;
        t->data = p + 1;
        r->p = p + 1 + t->len;
        return PC_OK;
    }
    if (head >= 0xcb && head <= 0xd3 && left >= 9) { /* a number; its width is in the last two bits */
        uint64_t bits = (uint64_t)pc_frame_length(p + 1) << 32 | pc_frame_length(p + 5);
        unsigned width = 8u << (head & 3);
        r->p = p + 1 + width / 8;
        if (head == 0xcb) {
            t->type = PC_FLOAT;
            memcpy(&t->f, &bits, sizeof t->f);
        } else if (head < 0xd0) {
            t->u = bits >> (64 - width);
            t->type = t->u > INT64_MAX ? PC_UINT : PC_INT;
        } else {
            t->i = (int64_t)bits >> (64 - width);
            t->type = PC_INT;
        }
        return PC_OK;
    }
    return pc_reader_next_slow(r, t);
}

/* Moves past one whole value, containers included. */
enum pc_status pc_reader_skip(struct pc_reader *r);

/* Typed reads for control messages; PC_WRONG_TYPE if something else is there. */
enum pc_status pc_read_array(struct pc_reader *r, uint32_t *count);
enum pc_status pc_read_map(struct pc_reader *r, uint32_t *count);
enum pc_status pc_read_int(struct pc_reader *r, int64_t *value);
enum pc_status pc_read_uint(struct pc_reader *r, uint64_t *value);
enum pc_status pc_read_str(struct pc_reader *r, const char **utf8, uint32_t *n);
/* bin, and str as well: control messages do not care. */
enum pc_status pc_read_bytes(struct pc_reader *r, const uint8_t **bytes, uint32_t *n);

/* Whether the bytes are UTF-8 by RFC 3629 (no surrogates, no overlong forms, nothing above U+10FFFF). */
bool pc_utf8_valid(const void *bytes, size_t n);

#endif
