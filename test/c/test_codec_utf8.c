/* codec/utf8.c against a decoder that follows RFC 3629 by code points, at every place in a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "codec/reader.h"

/* Whether one sequence is the shortest form of a code point that is allowed. Slow and plain on purpose. */
static bool is_one_character(const uint8_t *p, size_t n) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (n == 1) {
        return p[0] < 0x80;
    }
    uint32_t mask = 0xff >> (n + 1);
    if ((p[0] & ~mask & 0xff) != lead[n]) {
        return false;
    }
    uint32_t point = p[0] & mask;
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) {
            return false;
        }
        point = point << 6 | (p[i] & 0x3f);
    }
    return point >= least[n] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

static bool plain_valid(const uint8_t *p, size_t n) {
    while (n > 0) {
        size_t take = 1;
        while (take <= 4 && take <= n && !is_one_character(p, take)) {
            take++;
        }
        if (take > 4 || take > n) {
            return false;
        }
        p += take;
        n -= take;
    }
    return true;
}

/* In memory of exactly n bytes, so that a sanitizer sees a read past the end. */
static bool checked(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n != 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    bool valid = pc_utf8_valid(copy, n);
    free(copy);
    return valid;
}

static void empty_is_valid(void **state) {
    (void)state;
    assert_true(pc_utf8_valid("", 0));
}

static void every_two_bytes(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        uint8_t bytes[] = {(uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(checked(bytes, 1), plain_valid(bytes, 1));
        assert_int_equal(checked(bytes, 2), plain_valid(bytes, 2));
    }
}

/* Bytes at which the rules change, in every combination of four. */
static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
                                0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff};
enum { EDGES = sizeof edges };

static void every_four_edges(void **state) {
    (void)state;
    for (uint32_t i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        uint8_t bytes[] = {edges[i / EDGES / EDGES / EDGES], edges[i / EDGES / EDGES % EDGES], edges[i / EDGES % EDGES],
                           edges[i % EDGES]};
        assert_int_equal(pc_utf8_valid(bytes, 3), plain_valid(bytes, 3));
        assert_int_equal(pc_utf8_valid(bytes, 4), plain_valid(bytes, 4));
    }
}

static void every_place_in_a_text(void **state) {
    (void)state;
    static const char *const sequences[] = {"\xc3\xa9",     "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                            "\x80",         "\xc3",         "\xe2\x82",
                                            "\xf0\x9f\x98", "\xed\xa0\x80", "\xf4\x90\x80\x80"};
    for (size_t s = 0; s < sizeof sequences / sizeof sequences[0]; s++) {
        size_t length = strlen(sequences[s]);
        for (size_t n = length; n < 80; n++) {
            for (size_t at = 0; at + length <= n; at++) {
                uint8_t text[80];
                memset(text, 'x', n);
                memcpy(text + at, sequences[s], length);
                assert_int_equal(checked(text, n), plain_valid(text, n));
            }
        }
    }
}

static void every_code_point(void **state) {
    (void)state;
    for (uint32_t c = 0x80; c < 0x110000; c++) {
        uint8_t bytes[4];
        size_t n;
        if (c < 0x800) {
            bytes[0] = (uint8_t)(0xc0 | c >> 6);
            n = 2;
        } else if (c < 0x10000) {
            bytes[0] = (uint8_t)(0xe0 | c >> 12);
            bytes[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            n = 3;
        } else {
            bytes[0] = (uint8_t)(0xf0 | c >> 18);
            bytes[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
            bytes[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            n = 4;
        }
        bytes[n - 1] = (uint8_t)(0x80 | (c & 0x3f));
        assert_int_equal(pc_utf8_valid(bytes, n), c < 0xd800 || c > 0xdfff);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_valid),        cmocka_unit_test(every_two_bytes),  cmocka_unit_test(every_four_edges),
        cmocka_unit_test(every_place_in_a_text), cmocka_unit_test(every_code_point),
    };
    return cmocka_run_group_tests_name("codec/utf8", tests, NULL, NULL);
}
