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

/* The eight bytes behind the first, big-endian. */
static inline uint64_t pc_reader_bits(const uint8_t *p) {
    return (uint64_t)pc_frame_length(p + 1) << 32 | pc_frame_length(p + 5);
}

/*
 * An integer or a float64, if that is what is next and it is not among the last bytes of the input, which are for
 * pc_reader_next; else false, and the reader does not move.
 */
static inline bool pc_reader_take_int(struct pc_reader *r, int64_t *value) {
    const uint8_t *p = r->p;
    size_t left = pc_reader_left(r);
    uint8_t head = left > 0 ? *p : 0xc0;
    if (head < 0x80 || head >= 0xe0) { /* from -32 to 127 */
        *value = (int8_t)head;
        r->p = p + 1;
        return true;
    }
    if (head < 0xcc || head > 0xd3 || head == 0xcf || left < 9) {
        return false;
    }
    uint64_t bits = pc_reader_bits(p);
    unsigned width = 8u << (head & 3); /* in the last two bits of the head */
    *value = head < 0xd0 ? (int64_t)(bits >> (64 - width)) : (int64_t)bits >> (64 - width);
    r->p = p + 1 + width / 8;
    return true;
}

static inline bool pc_reader_take_float(struct pc_reader *r, double *value) {
    if (pc_reader_left(r) < 9 || *r->p != 0xcb) {
        return false;
    }
    uint64_t bits = pc_reader_bits(r->p);
    memcpy(value, &bits, sizeof *value);
    r->p += 9;
    return true;
}

/* The same for a str below 32 bytes. */
static inline bool pc_reader_take_short_str(struct pc_reader *r, struct pc_token *t) {
    const uint8_t *p = r->p;
    size_t left = pc_reader_left(r);
    if (left == 0 || *p < 0xa0 || *p >= 0xc0 || left <= (*p & 0x1fu)) {
        return false;
    }
    t->type = PC_STR;
    t->len = *p & 0x1fu;
    t->data = p + 1;
    r->p = p + 1 + t->len;
    return true;
}

/* The same for an array or a map of at most 15, if more is left than it could need. */
static inline bool pc_reader_take_container(struct pc_reader *r, struct pc_token *t) {
    const uint8_t *p = r->p;
    if (pc_reader_left(r) <= 2 * 15 || *p < 0x80 || *p >= 0xa0) {
        return false;
    }
    t->type = *p < 0x90 ? PC_MAP : PC_ARRAY;
    t->len = *p & 0x0fu;
    r->p = p + 1;
    return true;
}

/* Whether one of the first two would take what is next, as far as the first byte tells. */
static inline bool pc_reader_is_number(const struct pc_reader *r) {
    return r->p < r->end && (*r->p < 0x80 || *r->p >= 0xe0 || (*r->p >= 0xcb && *r->p <= 0xd3));
}

/* Reads the next token. On failure the reader does not move. */
static inline enum pc_status pc_reader_next(struct pc_reader *r, struct pc_token *t) {
    if (pc_reader_take_int(r, &t->i)) {
        t->type = PC_INT;
        return PC_OK;
    }
    if (pc_reader_take_short_str(r, t)) {
        return PC_OK;
    }
    if (pc_reader_take_container(r, t)) {
        return PC_OK;
    }
    if (pc_reader_take_float(r, &t->f)) {
        t->type = PC_FLOAT;
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
