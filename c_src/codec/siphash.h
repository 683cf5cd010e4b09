#ifndef PC_CODEC_SIPHASH_H
#define PC_CODEC_SIPHASH_H

/*
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF"): without the key nobody
 * can make a tag that fits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PC_SIPHASH_KEY = 16,
    PC_SIPHASH_TAG = 16,
};

void pc_siphash(const uint8_t key[PC_SIPHASH_KEY], const void *bytes, size_t n, uint8_t tag[PC_SIPHASH_TAG]);

/* The same for a message that comes in pieces: whatever they are, the tag is that of the whole. */
struct pc_siphash {
    uint64_t v0, v1, v2, v3;
    uint64_t pending; /* the bytes that do not make a word yet */
    uint64_t n;       /* bytes so far */
};

void pc_siphash_begin(struct pc_siphash *s, const uint8_t key[PC_SIPHASH_KEY]);
/* The n least bytes of a word, 1 to 8, least first; its other bytes are zero. */
void pc_siphash_word(struct pc_siphash *s, uint64_t word, unsigned n);
void pc_siphash_bytes(struct pc_siphash *s, const void *bytes, size_t n);
void pc_siphash_end(struct pc_siphash *s, uint8_t tag[PC_SIPHASH_TAG]);

/* In a time that does not tell where they differ. */
bool pc_siphash_same(const uint8_t a[PC_SIPHASH_TAG], const uint8_t b[PC_SIPHASH_TAG]);

#endif
