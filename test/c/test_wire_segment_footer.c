/* The names of segments at the end of a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire/segment_footer.h"

enum { MOST = 2048 };

static const struct pc_segment_name names[] = {{1, 2, 65536}, {63, UINT32_MAX, UINT64_C(1) << 40}, {0, 1, 0}};
enum { NAMES = sizeof names / sizeof *names };

static size_t write_footer(uint8_t *bytes, const struct pc_segment_name *list, uint32_t count) {
    struct pc_writer w;
    pc_writer_init(&w, bytes, MOST, MOST, NULL, NULL);
    pc_write_int(&w, 7);
    pc_segment_footer_write(&w, list, count);
    assert_int_equal(w.status, PC_OK);
    return w.len;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    uint8_t bytes[MOST];
    struct pc_segment_footer footer;
    for (uint32_t count = 1; count <= NAMES; count++) {
        size_t n = write_footer(bytes, names, count);
        assert_true(pc_segment_footer_read(bytes, n, &footer));
        assert_int_equal(footer.count, count);
        assert_int_equal(footer.size, n - 1);
        for (uint32_t i = 0; i < count; i++) {
            struct pc_segment_name name;
            pc_segment_name_read(&name, footer.names + (size_t)i * PC_SEGMENT_NAME);
            assert_int_equal(name.index, names[i].index);
            assert_int_equal(name.generation, names[i].generation);
            assert_true(name.n == names[i].n);
        }
    }
}

static void as_many_as_there_are(void **state) {
    (void)state;
    uint8_t bytes[MOST];
    struct pc_segment_name many[PC_SEGMENTS + 1];
    struct pc_segment_footer footer;
    for (uint32_t i = 0; i <= PC_SEGMENTS; i++) {
        many[i] = (struct pc_segment_name){.index = i, .generation = 1, .n = i};
    }
    assert_true(pc_segment_footer_read(bytes, write_footer(bytes, many, PC_SEGMENTS), &footer));
    assert_int_equal(footer.count, PC_SEGMENTS);
    assert_false(pc_segment_footer_read(bytes, write_footer(bytes, many, PC_SEGMENTS + 1), &footer));
}

static void the_bytes_are_these(void **state) {
    (void)state;
    static const uint8_t wanted[] = {7, 0xc6, 0, 0, 0, 16, 0, 0, 0,    1, 0, 0, 0, 2,
                                     0, 0,    0, 0, 0, 1,  0, 0, 0xce, 0, 0, 0, 1};
    uint8_t bytes[MOST];
    size_t n = write_footer(bytes, names, 1);
    assert_int_equal(n, sizeof wanted);
    assert_memory_equal(bytes, wanted, n);
}

/* Whatever byte is another one: it is refused, or names as many. Nothing before the payload is read. */
static void spoiled_ones(void **state) {
    (void)state;
    uint8_t bytes[MOST];
    size_t n = write_footer(bytes, names, 2);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut > 0 ? cut : 1); /* so that a sanitizer sees what lies beyond */
        struct pc_segment_footer footer;
        assert_non_null(exact);
        memcpy(exact, bytes + n - cut, cut);
        bool whole = cut >= n - 1;
        assert_int_equal(pc_segment_footer_read(exact, cut, &footer), whole);
        free(exact);
    }
    for (size_t at = 0; at < n; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct pc_segment_footer footer;
            bytes[at] ^= (uint8_t)(1 << bit);
            if (pc_segment_footer_read(bytes, n, &footer)) {
                assert_int_equal(footer.count, 2);
                assert_ptr_equal(footer.names, bytes + n - footer.size + 5);
            }
            bytes[at] ^= (uint8_t)(1 << bit);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(as_many_as_there_are),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(spoiled_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
