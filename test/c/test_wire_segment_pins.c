/* Segments that code of the user's has a pointer to (pc_segments_pin): they are free when both ends have let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "segment_world.h"

static bool mprotect_fails;

int __real_mprotect(void *at, size_t n, int use);
int __wrap_mprotect(void *at, size_t n, int use);
int __wrap_mprotect(void *at, size_t n, int use) {
    if (mprotect_fails) {
        errno = ENOMEM;
        return -1;
    }
    return __real_mprotect(at, n, use);
}

/* Taken, pinned and lent; its memory. */
static struct pc_segment_name lend_pinned(struct world *w, size_t n, int byte, const uint8_t **memory) {
    struct pc_segment_name name;
    void *to;
    assert_true(pc_segments_take(w->s, n, &name, &to));
    memset(to, byte, n);
    pc_segments_pin(w->s, &name);
    pc_segments_lend(w->s, &name);
    *memory = to;
    return name;
}

static void read_once(struct world *w, struct pc_segment_name name, size_t n, int byte) {
    struct pc_view view = get(w, name);
    expect_bytes(&view, n, byte);
    pc_view_drop(&view);
}

static void test_reader_first(void **state) {
    (void)state;
    struct world w;
    const uint8_t *memory;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name name = lend_pinned(&w, 64 * KIB, 1, &memory);
    read_once(&w, name, 64 * KIB, 1);
    expect_segments(&w, 1, 1);
    assert_int_not_equal(use(&w, 64 * KIB, 2).index, name.index);
    pc_segments_trim(w.s, 0);
    assert_int_equal(memory[0] + memory[64 * KIB - 1], 2);
    pc_segments_unpin(w.s, &name);
    expect_segments(&w, 1, 0);
    struct pc_segment_name next = use(&w, 64 * KIB, 3);
    assert_int_equal(next.index, name.index);
    assert_int_equal(next.generation, name.generation + 1);
    world_end(&w);
}

static void test_writer_first(void **state) {
    (void)state;
    struct world w;
    const uint8_t *memory;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name name = lend_pinned(&w, 64 * KIB, 1, &memory);
    pc_segments_unpin(w.s, &name);
    expect_segments(&w, 1, 1);
    read_once(&w, name, 64 * KIB, 1);
    expect_segments(&w, 1, 0);
    world_end(&w);
}

static void test_of_another_use(void **state) {
    (void)state;
    struct world w;
    const uint8_t *memory;
    world_begin(&w, (struct world_opts){.protect = true});
    struct pc_segment_name old = use(&w, 64 * KIB, 1);
    struct pc_segment_name name = lend_pinned(&w, 64 * KIB, 2, &memory);
    assert_int_equal(name.index, old.index);
    read_once(&w, name, 64 * KIB, 2);
    pc_segments_unpin(w.s, &old);
    expect_segments(&w, 1, 1);
    pc_segments_unpin(w.s, &name);
    pc_segments_pin(w.s, &old);
    expect_segments(&w, 1, 0);
    world_end(&w);
}

static void test_memory_stays_where_it_cannot_be_protected(void **state) {
    (void)state;
    struct world w;
    const uint8_t *memory;
    world_begin(&w, (struct world_opts){.protect = true});
    mprotect_fails = true;
    struct pc_segment_name name = lend_pinned(&w, 64 * KIB, 1, &memory);
    mprotect_fails = false;
    assert_int_equal(memory[0] + memory[64 * KIB - 1], 2);
    read_once(&w, name, 64 * KIB, 1);
    pc_segments_unpin(w.s, &name);
    assert_int_equal(use(&w, 64 * KIB, 2).index, name.index);
    world_end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_first),
        cmocka_unit_test(test_writer_first),
        cmocka_unit_test(test_of_another_use),
        cmocka_unit_test(test_memory_stays_where_it_cannot_be_protected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
