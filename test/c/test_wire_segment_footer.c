/* The names of segments at the end of a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "segment_world.h"
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
            pc_segment_footer_name(&footer, i, &name);
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

static void the_bytes_of_a_payload_are_these(void **state) {
    (void)state;
    static const uint8_t wanted[] = {0xc7, 17, 15, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0};
    uint8_t bytes[MOST];
    struct pc_writer w;
    pc_writer_init(&w, bytes, MOST, MOST, NULL, NULL);
    pc_segment_payload_write(&w, PC_SEGMENT_ARROW, &names[0]);
    assert_int_equal(w.status, PC_OK);
    assert_int_equal(w.len, sizeof wanted);
    assert_memory_equal(bytes, wanted, sizeof wanted);
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

/* One that is read already stays with its reader, and a name of nothing is passed over. */
static void what_is_refused_goes_back(void **state) {
    (void)state;
    struct world w;
    uint8_t bytes[MOST];
    struct pc_segment_footer footer;
    world_begin(&w, (struct world_opts){0});
    struct pc_segment_name read = lend(&w, 64 * KIB, 1);
    struct pc_segment_name other = lend(&w, 64 * KIB, 2);
    struct pc_segment_name last = lend(&w, 128 * KIB, 3);
    const struct pc_segment_name list[] = {other, read, {9, 1, 64 * KIB}, last};
    struct pc_view view = get(&w, read);
    assert_true(pc_segment_footer_read(bytes, write_footer(bytes, list, 4), &footer));
    expect_segments(&w, 3, 3);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing left to do */
        pc_views_refuse(w.v, &footer);
        expect_segments(&w, 3, 1);
        expect_views(&w, 3, 1);
        expect_bytes(&view, 64 * KIB, 1);
    }
    pc_view_drop(&view);
    expect_segments(&w, 3, 0);
    world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(as_many_as_there_are),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(the_bytes_of_a_payload_are_these),
        cmocka_unit_test(spoiled_ones),
        cmocka_unit_test(what_is_refused_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
