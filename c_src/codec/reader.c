/*
 * The token reader. Every byte comes out of claim(), the one bounds check. It keeps no state but the position, so it
 * needs no depth limit; pc_reader_skip counts what it still owes instead of recursing.
 */

#include "reader.h"

#include <string.h>

/* The next n bytes, or false with the reader unmoved. */
static inline bool claim(struct pc_reader *r, size_t n, const uint8_t **place) {
    if (__builtin_expect(pc_reader_left(r) < n, 0)) {
        return false;
    }
    *place = r->p;
    r->p += n;
    return true;
}

/* `width` is 1, 2, 4 or 8. The compiler makes one load and a byte swap of each case. */
static inline uint64_t load_be(const uint8_t *p, size_t width) {
    uint32_t high = (uint32_t)p[0];
    switch (width) {
    case 1:
        return high;
    case 2:
        return high << 8 | p[1];
    case 4:
        return pc_frame_length(p);
    default:
        return (uint64_t)pc_frame_length(p) << 32 | pc_frame_length(p + 4);
    }
}

static enum pc_status read_length(struct pc_reader *r, size_t width, uint32_t *length) {
    const uint8_t *p;
    if (!claim(r, width, &p)) {
        return PC_TRUNCATED;
    }
    *length = (uint32_t)load_be(p, width);
    return PC_OK;
}

static enum pc_status read_uint(struct pc_reader *r, struct pc_token *t, size_t width) {
    const uint8_t *p;
    if (!claim(r, width, &p)) {
        return PC_TRUNCATED;
    }
    t->u = load_be(p, width);
    t->type = t->u > INT64_MAX ? PC_UINT : PC_INT;
    return PC_OK;
}

static enum pc_status read_int(struct pc_reader *r, struct pc_token *t, size_t width) {
    const uint8_t *p;
    if (!claim(r, width, &p)) {
        return PC_TRUNCATED;
    }
    uint64_t sign = UINT64_C(1) << (8 * width - 1);
    t->i = (int64_t)((load_be(p, width) ^ sign) - sign);
    t->type = PC_INT;
    return PC_OK;
}

static enum pc_status read_float(struct pc_reader *r, struct pc_token *t, size_t width) {
    const uint8_t *p;
    if (!claim(r, width, &p)) {
        return PC_TRUNCATED;
    }
    uint64_t bits = load_be(p, width);
    if (width == sizeof(float)) {
        uint32_t narrow = (uint32_t)bits;
        float f;
        memcpy(&f, &narrow, sizeof f);
        t->f = (double)f;
    } else {
        memcpy(&t->f, &bits, sizeof t->f);
    }
    t->type = PC_FLOAT;
    return PC_OK;
}

static enum pc_status take_body(struct pc_reader *r, struct pc_token *t, enum pc_type type, uint32_t n) {
    t->type = type;
    t->len = n;
    return claim(r, n, &t->data) ? PC_OK : PC_TRUNCATED;
}

static enum pc_status read_body(struct pc_reader *r, struct pc_token *t, enum pc_type type, size_t width) {
    uint32_t n;
    enum pc_status status = read_length(r, width, &n);
    return status == PC_OK ? take_body(r, t, type, n) : status;
}

/* The code of an extension stands between its length and its body. */
static enum pc_status take_ext(struct pc_reader *r, struct pc_token *t, uint32_t n) {
    const uint8_t *code;
    if (!claim(r, 1, &code)) {
        return PC_TRUNCATED;
    }
    t->ext = (int8_t)*code;
    return take_body(r, t, PC_EXT, n);
}

static enum pc_status read_ext(struct pc_reader *r, struct pc_token *t, size_t width) {
    uint32_t n;
    enum pc_status status = read_length(r, width, &n);
    return status == PC_OK ? take_ext(r, t, n) : status;
}

/* An element is one byte at least, so a count that the input cannot hold is found here, before anybody believes it. */
static enum pc_status take_count(struct pc_reader *r, struct pc_token *t, enum pc_type type, uint32_t n) {
    t->type = type;
    t->len = n;
    uint64_t least = type == PC_MAP ? 2 * (uint64_t)n : n;
    return least <= pc_reader_left(r) ? PC_OK : PC_TRUNCATED;
}

static enum pc_status read_count(struct pc_reader *r, struct pc_token *t, enum pc_type type, size_t width) {
    uint32_t n;
    enum pc_status status = read_length(r, width, &n);
    return status == PC_OK ? take_count(r, t, type, n) : status;
}

/* A token whose first byte, above the fix forms, was `head`. */
static enum pc_status read_long_form(struct pc_reader *r, struct pc_token *t, uint8_t head) {
    switch (head) {
    case 0xc0:
        t->type = PC_NIL;
        return PC_OK;
    case 0xc2:
    case 0xc3:
        t->type = PC_BOOL;
        t->b = head == 0xc3;
        return PC_OK;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_body(r, t, PC_BIN, (size_t)1 << (head - 0xc4));
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_ext(r, t, (size_t)1 << (head - 0xc7));
    case 0xca:
    case 0xcb:
        return read_float(r, t, (size_t)4 << (head - 0xca));
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_uint(r, t, (size_t)1 << (head - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_int(r, t, (size_t)1 << (head - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_ext(r, t, UINT32_C(1) << (head - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_body(r, t, PC_STR, (size_t)1 << (head - 0xd9));
    case 0xdc:
    case 0xdd:
        return read_count(r, t, PC_ARRAY, (size_t)2 << (head - 0xdc));
    case 0xde:
    case 0xdf:
        return read_count(r, t, PC_MAP, (size_t)2 << (head - 0xde));
    default: /* 0xc1 */
        return PC_INVALID;
    }
}

static enum pc_status read_token(struct pc_reader *r, struct pc_token *t) {
    const uint8_t *p;
    if (!claim(r, 1, &p)) {
        return PC_TRUNCATED;
    }
    uint8_t head = *p;
    if (head < 0x80 || head >= 0xe0) {
        t->type = PC_INT;
        t->i = (int8_t)head;
        return PC_OK;
    }
    if (head < 0x90) {
        return take_count(r, t, PC_MAP, head & 0x0f);
    }
    if (head < 0xa0) {
        return take_count(r, t, PC_ARRAY, head & 0x0f);
    }
    if (head < 0xc0) {
        return take_body(r, t, PC_STR, head & 0x1f);
    }
    return read_long_form(r, t, head);
}

enum pc_status pc_reader_next_slow(struct pc_reader *r, struct pc_token *t) {
    const uint8_t *start = r->p;
    enum pc_status status = read_token(r, t);
    if (status != PC_OK) {
        r->p = start;
    }
    return status;
}

enum pc_status pc_reader_skip(struct pc_reader *r) {
    const uint8_t *start = r->p;
    /* Each value owed is a byte at least, and counts were compared with the bytes left: this cannot overflow. */
    uint64_t owed = 1;
    while (owed > 0) {
        struct pc_token t;
        enum pc_status status = pc_reader_next(r, &t);
        if (status == PC_OK && owed > pc_reader_left(r) + 1) {
            status = PC_TRUNCATED;
        }
        if (status != PC_OK) {
            r->p = start;
            return status;
        }
        owed--;
        if (t.type == PC_ARRAY) {
            owed += t.len;
        } else if (t.type == PC_MAP) {
            owed += 2 * (uint64_t)t.len;
        }
    }
    return PC_OK;
}
