/* SipHash-2-4-128: two rounds for each word of the message, four at the end of each half of the tag. */

#include "siphash.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static void rounds(struct state *s, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

/* The words of the message are little-endian; n is at most 8. */
static uint64_t load(const uint8_t *p, size_t n) {
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) {
        word |= (uint64_t)p[i] << (8 * i);
    }
    return word;
}

static void store(uint8_t *p, uint64_t word) {
    for (unsigned i = 0; i < 8; i++) {
        p[i] = (uint8_t)(word >> (8 * i));
    }
}

static void absorb(struct state *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

void pc_siphash(const uint8_t key[PC_SIPHASH_KEY], const void *bytes, size_t n, uint8_t tag[PC_SIPHASH_TAG]) {
    uint64_t k0 = load(key, 8);
    uint64_t k1 = load(key + 8, 8);
    struct state s = {
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
    const uint8_t *p = bytes;
    size_t whole = n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        absorb(&s, load(p + i, 8));
    }
    absorb(&s, (whole < n ? load(p + whole, n - whole) : 0) | (uint64_t)n << 56);
    s.v2 ^= 0xee;
    rounds(&s, 4);
    store(tag, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
    s.v1 ^= 0xdd;
    rounds(&s, 4);
    store(tag + 8, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

bool pc_siphash_same(const uint8_t a[PC_SIPHASH_TAG], const uint8_t b[PC_SIPHASH_TAG]) {
    uint8_t difference = 0;
    for (size_t i = 0; i < PC_SIPHASH_TAG; i++) {
        difference |= (uint8_t)(a[i] ^ b[i]);
    }
    return difference == 0;
}
