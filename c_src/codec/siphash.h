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

/* In a time that does not tell where they differ. */
bool pc_siphash_same(const uint8_t a[PC_SIPHASH_TAG], const uint8_t b[PC_SIPHASH_TAG]);

#endif
