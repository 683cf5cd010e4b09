/* c_src/port/lines.c: lines do not depend on chunking, memory is bounded, what is dropped is counted. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "port/lines.h"

/* Collects lines, each followed by "|". */
struct collected {
    size_t lines;
    size_t longest;
    size_t len;
    char text[64 * 1024];
};

static void collect(const uint8_t *line, size_t n, void *context) {
    struct collected *c = context;
    assert_true(n <= PC_LINE_MAX);
    assert_true(c->len + n + 2 < sizeof c->text);
    memcpy(c->text + c->len, line, n);
    c->len += n;
    c->text[c->len++] = '|';
    c->text[c->len] = '\0';
    c->lines++;
    c->longest = n > c->longest ? n : c->longest;
}

static struct collected *split(const char *bytes, size_t n, size_t chunk) {
    struct pc_splitter *s = calloc(1, sizeof *s);
    struct collected *c = calloc(1, sizeof *c);
    assert_non_null(s);
    assert_non_null(c);
    for (size_t at = 0; at < n; at += chunk) {
        /* A copy of its own size, so that a sanitizer sees a read past the chunk. */
        size_t len = n - at < chunk ? n - at : chunk;
        uint8_t *piece = malloc(len);
        assert_non_null(piece);
        memcpy(piece, bytes + at, len);
        pc_splitter_feed(s, piece, len, collect, c);
        free(piece);
    }
    pc_splitter_flush(s, collect, c);
    free(s);
    return c;
}

static void assert_split(const char *bytes, size_t n, size_t chunk, const char *expected) {
    struct collected *c = split(bytes, n, chunk);
    assert_string_equal(c->text, expected);
    free(c);
}

static void test_lines(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},         {"\n", "|"},       {"a\n", "a|"},         {"a", "a|"},
        {"a\nb", "a|b|"}, {"\n\n\n", "|||"}, {"a\n\nb\n", "a||b|"}, {"a\r\nb\n", "a\r|b|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t chunk = 1; chunk < 8; chunk++) {
            assert_split(cases[i].in, strlen(cases[i].in), chunk, cases[i].out);
        }
    }
}

static void test_flush_forgets(void **state) {
    (void)state;
    struct pc_splitter *s = calloc(1, sizeof *s);
    struct collected *c = calloc(1, sizeof *c);
    pc_splitter_feed(s, (const uint8_t *)"rest", 4, collect, c);
    assert_int_equal(c->lines, 0);
    pc_splitter_flush(s, collect, c);
    pc_splitter_flush(s, collect, c);
    assert_string_equal(c->text, "rest|");
    free(s);
    free(c);
}

/* Every length around the limit, with and without newline, in every kind of chunk. */
static void test_long_lines(void **state) {
    (void)state;
    static const size_t chunks[] = {1, 7, 4096, PC_LINE_MAX - 1, PC_LINE_MAX, PC_LINE_MAX + 1, 3 * PC_LINE_MAX};
    size_t size = 2 * PC_LINE_MAX + 8;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t n = PC_LINE_MAX - 2; n <= 2 * PC_LINE_MAX + 2; n = n == PC_LINE_MAX + 2 ? 2 * PC_LINE_MAX - 2 : n + 1) {
        for (size_t newline = 0; newline < 2; newline++) {
            memset(bytes, 'x', n);
            bytes[n] = '\n';
            for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
                struct collected *c = split(bytes, n + newline, chunks[i]);
                assert_int_equal(c->lines, (n + PC_LINE_MAX - 1) / PC_LINE_MAX);
                assert_int_equal(c->longest, n < PC_LINE_MAX ? n : PC_LINE_MAX);
                assert_int_equal(c->len - c->lines, n);
                free(c);
            }
        }
    }
    free(bytes);
}

/* A two-, three- and four-byte character at each offset across the cut stays whole; nothing is lost. */
static void test_utf8_cut(void **state) {
    (void)state;
    static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char *bytes = malloc(PC_LINE_MAX + 16);
    assert_non_null(bytes);
    for (size_t i = 0; i < 3; i++) {
        size_t width = strlen(characters[i]);
        for (size_t before = PC_LINE_MAX - width; before <= PC_LINE_MAX; before++) {
            memset(bytes, 'x', PC_LINE_MAX + 16);
            memcpy(bytes + before, characters[i], width);
            struct collected *one = split(bytes, before + width, PC_LINE_MAX + 16);
            struct collected *two = split(bytes, before + width, 1);
            assert_string_equal(one->text, two->text);
            assert_int_equal(one->lines, before + width > PC_LINE_MAX ? 2 : 1);
            if (one->lines == 2) {
                assert_memory_equal(one->text + before, "|", 1);
                assert_memory_equal(one->text + before + 1, characters[i], width);
            }
            free(one);
            free(two);
        }
    }
    /* Bytes that only look like the middle of a character do not stop the cutting. */
    memset(bytes, 0x80, PC_LINE_MAX + 16);
    struct collected *c = split(bytes, PC_LINE_MAX + 16, 5);
    assert_int_equal(c->lines, 2);
    assert_int_equal(c->longest, PC_LINE_MAX);
    free(c);
    free(bytes);
}

static void test_ring_order(void **state) {
    (void)state;
    struct pc_ring *ring = calloc(1, sizeof *ring);
    uint8_t bytes[PC_LINE_MAX];
    struct pc_line line;
    assert_non_null(ring);
    assert_false(pc_ring_peek(ring, &line));
    pc_ring_push(ring, 7, 1, (const uint8_t *)"one", 3);
    pc_ring_push(ring, 8, 2, NULL, 0);
    assert_true(pc_ring_peek(ring, &line));
    assert_int_equal(line.wid, 7);
    assert_int_equal(line.fd, 1);
    assert_int_equal(line.len, 3);
    pc_ring_pop(ring, bytes);
    assert_memory_equal(bytes, "one", 3);
    assert_true(pc_ring_peek(ring, &line));
    assert_int_equal(line.wid, 8);
    assert_int_equal(line.len, 0);
    pc_ring_pop(ring, bytes);
    assert_false(pc_ring_peek(ring, &line));
    assert_int_equal(ring->used, 0);
    assert_int_equal(ring->dropped_lines, 0);
    free(ring);
}

/* Many turns of the ring with lines of many lengths: what comes out is a gapless tail, and the rest is counted. */
static void test_ring_drops_oldest(void **state) {
    (void)state;
    struct pc_ring *ring = calloc(1, sizeof *ring);
    uint8_t bytes[PC_LINE_MAX];
    uint64_t pushed_bytes = 0;
    uint32_t pushed = 0;
    assert_non_null(ring);
    for (; pushed < 20000; pushed++) {
        size_t n = (pushed * 37) % (PC_LINE_MAX + 1);
        memset(bytes, (int)(pushed & 0xFF), n);
        pc_ring_push(ring, pushed, 1, bytes, n);
        pushed_bytes += n;
        assert_true(ring->used <= PC_RING_SIZE);
    }
    uint32_t next = (uint32_t)ring->dropped_lines;
    uint64_t popped_bytes = 0;
    struct pc_line line;
    assert_true(next > 0);
    while (pc_ring_peek(ring, &line)) {
        assert_int_equal(line.wid, next);
        assert_int_equal(line.len, (next * 37) % (PC_LINE_MAX + 1));
        pc_ring_pop(ring, bytes);
        for (size_t i = 0; i < line.len; i++) {
            assert_int_equal(bytes[i], next & 0xFF);
        }
        popped_bytes += line.len;
        next++;
    }
    assert_int_equal(next, pushed);
    assert_int_equal(popped_bytes + ring->dropped_bytes, pushed_bytes);
    assert_int_equal(ring->used, 0);
    free(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_flush_forgets), cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_utf8_cut), cmocka_unit_test(test_ring_order),    cmocka_unit_test(test_ring_drops_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
