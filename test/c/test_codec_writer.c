/* codec/writer.c: room, limits, and the sticky error under an allocator that fails at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/writer.h"

/* An allocator that refuses after `left` growths. */
struct failing {
    int left;
    int calls;
};

static bool grow_failing(struct pc_writer *w, size_t need) {
    struct failing *f = w->owner;
    f->calls++;
    return f->left-- > 0 && pc_grow_malloc(w, need);
}

static void starts_empty(void **state) {
    (void)state;
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    assert_int_equal(w.len, 0);
    assert_int_equal(w.status, PC_OK);
    assert_null(w.data);
}

static void grows_and_keeps_what_it_has(void **state) {
    (void)state;
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    for (uint32_t i = 0; i < 100000; i++) {
        pc_writer_append(&w, &i, sizeof i);
    }
    assert_int_equal(w.status, PC_OK);
    assert_int_equal(w.len, 100000 * sizeof(uint32_t));
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t value;
        memcpy(&value, w.data + i * sizeof value, sizeof value);
        assert_int_equal(value, i);
    }
    free(w.data);
}

static void grows_geometrically(void **state) {
    (void)state;
    struct failing f = {.left = 1000};
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, grow_failing, &f);
    for (int i = 0; i < 1 << 20; i++) {
        pc_writer_append(&w, "x", 1);
    }
    assert_int_equal(w.status, PC_OK);
    assert_in_range(f.calls, 1, 20);
    free(w.data);
}

static void fills_exactly_to_the_limit(void **state) {
    (void)state;
    for (size_t max = 0; max < 600; max++) {
        struct pc_writer w;
        pc_writer_init(&w, NULL, 0, max, pc_grow_malloc, NULL);
        for (size_t i = 0; i < max; i++) {
            pc_writer_append(&w, "x", 1);
        }
        assert_int_equal(w.status, PC_OK);
        assert_int_equal(w.len, max);
        pc_writer_append(&w, "x", 1);
        assert_int_equal(w.status, PC_TOO_BIG);
        assert_int_equal(w.len, max);
        free(w.data);
    }
}

static void never_uses_memory_beyond_the_limit(void **state) {
    (void)state;
    uint8_t memory[8] = {0};
    struct pc_writer w;
    pc_writer_init(&w, memory, sizeof memory, 5, NULL, NULL);
    pc_writer_append(&w, "123456", 6);
    assert_int_equal(w.status, PC_TOO_BIG);
    assert_int_equal(w.len, 0);
    assert_int_equal(memory[0], 0);
}

static void without_grow_the_memory_is_all(void **state) {
    (void)state;
    uint8_t memory[4];
    struct pc_writer w;
    pc_writer_init(&w, memory, sizeof memory, SIZE_MAX, NULL, NULL);
    pc_writer_append(&w, "1234", 4);
    assert_int_equal(w.status, PC_OK);
    pc_writer_append(&w, "5", 1);
    assert_int_equal(w.status, PC_NO_MEMORY);
    assert_memory_equal(memory, "1234", 4);
}

static void an_error_is_sticky(void **state) {
    (void)state;
    struct failing f = {.left = 0};
    uint8_t memory[4];
    struct pc_writer w;
    pc_writer_init(&w, memory, sizeof memory, SIZE_MAX, grow_failing, &f);
    pc_writer_append(&w, "12345", 5);
    assert_int_equal(w.status, PC_NO_MEMORY);
    assert_int_equal(f.calls, 1);
    f.left = 100;
    pc_writer_append(&w, "1", 1);
    assert_null(pc_writer_claim(&w, 1));
    assert_false(pc_writer_reserve(&w, 1));
    assert_int_equal(w.len, 0);
    assert_int_equal(f.calls, 1);
    assert_int_equal(w.status, PC_NO_MEMORY);
}

static void a_huge_need_does_not_wrap(void **state) {
    (void)state;
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, 1 << 20, pc_grow_malloc, NULL);
    pc_writer_append(&w, "x", 1);
    assert_null(pc_writer_claim(&w, SIZE_MAX));
    assert_int_equal(w.status, PC_TOO_BIG);
    free(w.data);
}

/* With every length around the fixed block, at every fill level of a limited writer, and when it has to grow. */
static void repeats_what_it_has(void **state) {
    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        for (size_t spare = 0; spare <= 40; spare++) {
            uint8_t *memory = malloc(50 + spare);
            struct pc_writer w;
            pc_writer_init(&w, memory, 50 + spare, 50 + spare, NULL, NULL);
            for (uint8_t i = 0; i < 50; i++) {
                pc_writer_append(&w, &i, 1);
            }
            pc_writer_repeat(&w, 7, n);
            assert_int_equal(w.status, n <= spare ? PC_OK : PC_TOO_BIG);
            assert_int_equal(w.len, n <= spare ? 50 + n : 50);
            for (size_t i = 50; i < w.len; i++) {
                assert_int_equal(w.data[i], i - 50 + 7);
            }
            free(memory);
        }
    }
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    pc_writer_append(&w, "abc", 3);
    for (int i = 0; i < 1000; i++) {
        pc_writer_repeat(&w, 0, 3);
    }
    assert_int_equal(w.len, 3003);
    assert_memory_equal(w.data + 3000, "abc", 3);
    free(w.data);
}

static void keeps_a_prefix_when_any_growth_fails(void **state) {
    (void)state;
    for (int allowed = 0; allowed < 6; allowed++) {
        struct failing f = {.left = allowed};
        struct pc_writer w;
        pc_writer_init(&w, NULL, 0, SIZE_MAX, grow_failing, &f);
        uint8_t next = 0;
        while (w.status == PC_OK && w.len < 1 << 20) {
            pc_writer_append(&w, &next, 1);
            next++;
        }
        assert_int_equal(w.status, PC_NO_MEMORY);
        assert_int_equal(f.calls, allowed + 1);
        for (size_t i = 0; i < w.len; i++) {
            assert_int_equal(w.data[i], (uint8_t)i);
        }
        free(w.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),
        cmocka_unit_test(grows_and_keeps_what_it_has),
        cmocka_unit_test(grows_geometrically),
        cmocka_unit_test(fills_exactly_to_the_limit),
        cmocka_unit_test(never_uses_memory_beyond_the_limit),
        cmocka_unit_test(without_grow_the_memory_is_all),
        cmocka_unit_test(an_error_is_sticky),
        cmocka_unit_test(a_huge_need_does_not_wrap),
        cmocka_unit_test(repeats_what_it_has),
        cmocka_unit_test(keeps_a_prefix_when_any_growth_fails),
    };
    return cmocka_run_group_tests_name("codec/writer", tests, NULL, NULL);
}
