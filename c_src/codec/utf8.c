/*
 * UTF-8 by RFC 3629. Text is mostly ASCII, so blocks of bytes are tested at once; anything else goes through one sequence
 * at a time. Reads no byte past the end.
 */

#include <string.h>

#include "reader.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool is_tail(uint8_t byte) { return (byte & 0xc0) == 0x80; }

/* Length of the sequence at p, with n > 0 bytes there; 0 if there is none. p[0] is not ASCII. */
static size_t sequence_length(const uint8_t *p, size_t n) {
    uint8_t first = p[0];
    if (first < 0xe0) { /* below 0xc2: a tail byte, or an overlong form of ASCII */
        return first >= 0xc2 && n >= 2 && is_tail(p[1]) ? 2 : 0;
    }
    if (first < 0xf0) {
        if (n < 3 || !is_tail(p[1]) || !is_tail(p[2])) {
            return 0;
        }
        bool overlong = first == 0xe0 && p[1] < 0xa0;
        bool surrogate = first == 0xed && p[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (first > 0xf4 || n < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3])) {
        return 0;
    }
    bool overlong = first == 0xf0 && p[1] < 0x90;
    bool above = first == 0xf4 && p[1] >= 0x90;
    return overlong || above ? 0 : 4;
}

static inline uint64_t load(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The end of the ASCII that begins at p, or a place up to a block before it. */
static const uint8_t *skip_ascii_blocks(const uint8_t *p, const uint8_t *end) {
    while (end - p >= 32 && ((load(p) | load(p + 8) | load(p + 16) | load(p + 24)) & HIGH_BITS) == 0) {
        p += 32;
    }
    while (end - p >= 8 && (load(p) & HIGH_BITS) == 0) {
        p += 8;
    }
    return p;
}

/* Of 4 to 8 bytes; the two halves may overlap. */
static inline bool is_short_ascii(const uint8_t *p, size_t n) {
    uint32_t first;
    uint32_t last;
    memcpy(&first, p, sizeof first);
    memcpy(&last, p + n - sizeof last, sizeof last);
    return ((first | last) & (uint32_t)HIGH_BITS) == 0;
}

bool pc_utf8_valid(const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    const uint8_t *end = p + n;
    if (n >= 4 && n <= 8 && is_short_ascii(p, n)) {
        return true;
    }
    while (p < end) {
        p = skip_ascii_blocks(p, end);
        if (n >= 8 && end - p < 8 && (load(end - 8) & HIGH_BITS) == 0) {
            return true; /* the last block may overlap the one before */
        }
        while (p < end && *p < 0x80) {
            p++;
        }
        while (p < end && *p >= 0x80) {
            size_t length = sequence_length(p, (size_t)(end - p));
            if (length == 0) {
                return false;
            }
            p += length;
        }
    }
    return true;
}
