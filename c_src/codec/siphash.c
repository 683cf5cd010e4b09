/* SipHash-2-4-128: two rounds for each word of the message, four at the end of each half of the tag. */

#include "siphash.h"

static uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static void rounds(struct pc_siphash *s, unsigned count) {
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

static void absorb(struct pc_siphash *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

void pc_siphash_begin(struct pc_siphash *s, const uint8_t key[PC_SIPHASH_KEY]) {
    uint64_t k0 = load(key, 8);
    uint64_t k1 = load(key + 8, 8);
    *s = (struct pc_siphash){
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
}

void pc_siphash_word(struct pc_siphash *s, uint64_t word, unsigned n) {
    unsigned have = (unsigned)(s->n & 7);
    s->pending |= word << (8 * have);
    s->n += n;
    if (have + n >= 8) {
        absorb(s, s->pending);
        /* What did not fit; a shift by the whole width would be undefined. */
        s->pending = have != 0 ? word >> (8 * (8 - have)) : 0;
    }
}

void pc_siphash_bytes(struct pc_siphash *s, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    for (; n >= 8; p += 8, n -= 8) {
        pc_siphash_word(s, load(p, 8), 8);
    }
    if (n > 0) {
        pc_siphash_word(s, load(p, n), (unsigned)n);
    }
}

void pc_siphash_end(struct pc_siphash *s, uint8_t tag[PC_SIPHASH_TAG]) {
    absorb(s, s->pending | s->n << 56);
    s->v2 ^= 0xee;
    rounds(s, 4);
    store(tag, s->v0 ^ s->v1 ^ s->v2 ^ s->v3);
    s->v1 ^= 0xdd;
    rounds(s, 4);
    store(tag + 8, s->v0 ^ s->v1 ^ s->v2 ^ s->v3);
}

void pc_siphash(const uint8_t key[PC_SIPHASH_KEY], const void *bytes, size_t n, uint8_t tag[PC_SIPHASH_TAG]) {
    struct pc_siphash s;
    pc_siphash_begin(&s, key);
    pc_siphash_bytes(&s, bytes, n);
    pc_siphash_end(&s, tag);
}

bool pc_siphash_same(const uint8_t a[PC_SIPHASH_TAG], const uint8_t b[PC_SIPHASH_TAG]) {
    uint8_t difference = 0;
    for (size_t i = 0; i < PC_SIPHASH_TAG; i++) {
        difference |= (uint8_t)(a[i] ^ b[i]);
    }
    return difference == 0;
}
