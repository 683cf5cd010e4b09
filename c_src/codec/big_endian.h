#ifndef PC_CODEC_BIG_ENDIAN_H
#define PC_CODEC_BIG_ENDIAN_H

/* Integers of up to eight bytes, the highest byte first, for whatever is not read or written often enough to have its own way. */

#include <stddef.h>
#include <stdint.h>

/* Of a value that does not fit, the lowest bytes. */
static inline void pc_store_be(uint8_t *p, uint64_t value, size_t width) {
    for (size_t i = width; i > 0; i--) {
        p[i - 1] = (uint8_t)value;
        value >>= 8;
    }
}

static inline uint64_t pc_load_be(const uint8_t *p, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

#endif
