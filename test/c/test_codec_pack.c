/* codec/pack.c and pack.h: which bytes are written, at every fill level of the buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/ext.h"
#include "codec/reader.h"
#include "codec/writer.h"
#include "codec_vectors.h"

/* Writes again what the reader finds, so the writer's choices meet the vectors' bytes. */
static void copy_token(struct pc_writer *w, const struct pc_token *t) {
    switch (t->type) {
    case PC_NIL:
        pc_write_nil(w);
        break;
    case PC_BOOL:
        pc_write_bool(w, t->b);
        break;
    case PC_INT:
        pc_write_int(w, t->i);
        break;
    case PC_UINT:
        pc_write_uint(w, t->u);
        break;
    case PC_FLOAT:
        pc_write_double(w, t->f);
        break;
    case PC_STR:
        pc_write_str(w, t->data, t->len);
        break;
    case PC_BIN:
        pc_write_bin(w, t->data, t->len);
        break;
    case PC_ARRAY:
        pc_write_array(w, t->len);
        break;
    case PC_MAP:
        pc_write_map(w, t->len);
        break;
    case PC_EXT:
        pc_write_ext(w, t->ext, t->data, t->len);
        break;
    }
}

static void copy_all(struct pc_writer *w, const struct vector *v) {
    struct pc_reader r;
    struct pc_token t;
    pc_reader_init(&r, v->bytes, v->n);
    while (pc_reader_left(&r) > 0) {
        assert_int_equal(pc_reader_next(&r, &t), PC_OK);
        copy_token(w, &t);
    }
}

static void copies(const struct vector *v, void *arg) {
    (void)arg;
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    copy_all(&w, v);
    assert_int_equal(w.status, PC_OK);
    assert_int_equal(w.len, v->n);
    assert_memory_equal(w.data, v->bytes, v->n);
    free(w.data);
}

/* With a limit below its size a vector is refused; what is there is a prefix, and nothing follows the failure. */
static void copies_up_to_every_limit(const struct vector *v, void *arg) {
    (void)arg;
    for (size_t max = 0; max <= v->n; max++) {
        uint8_t *memory = malloc(max != 0 ? max : 1);
        struct pc_writer w;
        pc_writer_init(&w, memory, max, max, NULL, NULL);
        copy_all(&w, v);
        assert_int_equal(w.status, max < v->n ? PC_TOO_BIG : PC_OK);
        assert_true(w.len <= max);
        assert_memory_equal(memory, v->bytes, w.len);
        free(memory);
    }
}

static bool grow_some_times(struct pc_writer *w, size_t need) {
    int *left = w->owner;
    return (*left)-- > 0 && pc_grow_malloc(w, need);
}

/* The same with an allocator that fails at its first, second, ... call, until it is not called again. */
static void copies_with_failing_allocator(const struct vector *v, void *arg) {
    (void)arg;
    int allowed = 0;
    for (enum pc_status status = PC_NO_MEMORY; status != PC_OK; allowed++) {
        int left = allowed;
        struct pc_writer w;
        pc_writer_init(&w, NULL, 0, SIZE_MAX, grow_some_times, &left);
        copy_all(&w, v);
        status = w.status;
        assert_true(status == PC_OK || (status == PC_NO_MEMORY && w.len < v->n));
        assert_true(w.len == 0 || memcmp(w.data, v->bytes, w.len) == 0);
        free(w.data);
    }
    assert_in_range(allowed, 2, 8);
}

static void writes_the_vectors(void **state) {
    (void)state;
    assert_in_range(vectors_run("codec_both.tsv", copies, NULL), 50, 1000);
}

static void respects_every_limit(void **state) {
    (void)state;
    (void)vectors_run("codec_both.tsv", copies_up_to_every_limit, NULL);
}

static void survives_failing_allocators(void **state) {
    (void)state;
    (void)vectors_run("codec_both.tsv", copies_with_failing_allocator, NULL);
}

static void check(const struct pc_writer *w, const char *bytes, size_t n) {
    assert_int_equal(w->status, PC_OK);
    assert_int_equal(w->len, n);
    assert_memory_equal(w->data, bytes, n);
}

static void writes_boundary_headers(void **state) {
    (void)state;
    const struct {
        size_t n;
        const char *str, *bin, *array, *map;
        size_t str_n, bin_n, list_n;
    } rows[] = {
        {15, "\xaf", "\xc4\x0f", "\x9f", "\x8f", 1, 2, 1},
        {16, "\xb0", "\xc4\x10", "\xdc\x00\x10", "\xde\x00\x10", 1, 2, 3},
        {31, "\xbf", "\xc4\x1f", "\xdc\x00\x1f", "\xde\x00\x1f", 1, 2, 3},
        {32, "\xd9\x20", "\xc4\x20", "\xdc\x00\x20", "\xde\x00\x20", 2, 2, 3},
        {255, "\xd9\xff", "\xc4\xff", "\xdc\x00\xff", "\xde\x00\xff", 2, 2, 3},
        {256, "\xda\x01\x00", "\xc5\x01\x00", "\xdc\x01\x00", "\xde\x01\x00", 3, 3, 3},
        {65535, "\xda\xff\xff", "\xc5\xff\xff", "\xdc\xff\xff", "\xde\xff\xff", 3, 3, 3},
        {65536, "\xdb\x00\x01\x00\x00", "\xc6\x00\x01\x00\x00", "\xdd\x00\x01\x00\x00", "\xdf\x00\x01\x00\x00", 5, 5,
         5},
        {UINT32_MAX, "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", 5,
         5, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t memory[16];
        struct pc_writer w;
        pc_writer_init(&w, memory, sizeof memory, SIZE_MAX, NULL, NULL);
        pc_write_str_header(&w, rows[i].n);
        check(&w, rows[i].str, rows[i].str_n);
        w.len = 0;
        pc_write_bin_header(&w, rows[i].n);
        check(&w, rows[i].bin, rows[i].bin_n);
        w.len = 0;
        pc_write_array(&w, rows[i].n);
        check(&w, rows[i].array, rows[i].list_n);
        w.len = 0;
        pc_write_map(&w, rows[i].n);
        check(&w, rows[i].map, rows[i].list_n);
    }
}

static void refuses_counts_beyond_32_bits(void **state) {
    (void)state;
    void (*const headers[])(struct pc_writer *, size_t) = {pc_write_str_header, pc_write_bin_header, pc_write_array,
                                                           pc_write_map};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        uint8_t memory[16];
        struct pc_writer w;
        pc_writer_init(&w, memory, sizeof memory, SIZE_MAX, NULL, NULL);
        headers[i](&w, (size_t)UINT32_MAX + 1);
        assert_int_equal(w.status, PC_TOO_BIG);
        assert_int_equal(w.len, 0);
    }
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, NULL, NULL);
    pc_write_ext(&w, 1, "", (size_t)UINT32_MAX + 1);
    assert_int_equal(w.status, PC_TOO_BIG);
}

static void fills_in_lengths_afterwards(void **state) {
    (void)state;
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    size_t frame = pc_write_frame_begin(&w);
    pc_write_array(&w, 1);
    size_t tuple = pc_write_ext_begin(&w);
    pc_write_array(&w, 300);
    for (int i = 0; i < 300; i++) {
        pc_write_nil(&w);
    }
    pc_write_ext_end(&w, tuple, PC_EXT_TUPLE);
    pc_write_frame_end(&w, frame);
    assert_int_equal(w.status, PC_OK);
    assert_int_equal(pc_frame_length(w.data), w.len - 4);
    struct pc_reader r;
    struct pc_token t;
    pc_reader_init(&r, w.data + 4, w.len - 4);
    assert_int_equal(pc_reader_next(&r, &t), PC_OK);
    assert_int_equal(t.len, 1);
    assert_int_equal(pc_reader_next(&r, &t), PC_OK);
    assert_int_equal(t.type, PC_EXT);
    assert_int_equal(t.ext, PC_EXT_TUPLE);
    assert_int_equal(t.len, 303);
    assert_int_equal(pc_reader_left(&r), 0);
    free(w.data);
}

/* As encoders use it: an array of `count` with something in front. */
static void check_counted_afterwards(size_t count, const char *header, size_t header_n) {
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    pc_write_bool(&w, true);
    size_t mark = pc_write_array_begin(&w);
    size_t moved = 0;
    for (size_t i = 0; i < count; i++) {
        moved += pc_write_array_widen(&w, mark, i);
        pc_write_int(&w, (int64_t)(i % 100));
    }
    pc_write_array_end(&w, mark, count);
    assert_int_equal(w.status, PC_OK);
    assert_int_equal(moved, header_n - 1);
    assert_int_equal(w.len, 1 + header_n + count);
    assert_int_equal(w.data[0], 0xc3);
    assert_memory_equal(w.data + 1, header, header_n);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(w.data[1 + header_n + i], i % 100);
    }
    free(w.data);
}

static void fills_in_counts_afterwards(void **state) {
    (void)state;
    check_counted_afterwards(0, "\x90", 1);
    check_counted_afterwards(15, "\x9f", 1);
    check_counted_afterwards(16, "\xdc\x00\x10", 3);
    check_counted_afterwards(65535, "\xdc\xff\xff", 3);
    check_counted_afterwards(65536, "\xdd\x00\x01\x00\x00", 5);
    check_counted_afterwards(70000, "\xdd\x00\x01\x11\x70", 5);
}

static void counts_that_do_not_fit_fail(void **state) {
    (void)state;
    uint8_t memory[8] = {0};
    struct pc_writer w;
    pc_writer_init(&w, memory, 2, 2, NULL, NULL);
    size_t mark = pc_write_array_begin(&w);
    assert_int_equal(pc_write_array_widen(&w, mark, 15), 0); /* two bytes more do not fit */
    assert_int_equal(w.status, PC_TOO_BIG);
    pc_writer_init(&w, memory, 4, 4, NULL, NULL);
    mark = pc_write_array_begin(&w);
    pc_write_array_end(&w, mark, (size_t)UINT32_MAX + 1);
    assert_int_equal(w.status, PC_TOO_BIG);
    pc_writer_init(&w, memory, 0, 0, NULL, NULL);
    mark = pc_write_array_begin(&w);
    assert_int_equal(pc_write_array_widen(&w, mark, 15), 0);
    pc_write_array_end(&w, mark, 1);
    assert_int_equal(w.status, PC_TOO_BIG);
    assert_memory_equal(memory, "\0\0\0\0\0\0\0\0", 8);
}

/* Bytes that stand elsewhere count. */
static void fills_in_lengths_of_what_stands_elsewhere(void **state) {
    (void)state;
    uint8_t memory[16];
    struct pc_writer w;
    pc_writer_init(&w, memory, sizeof memory, sizeof memory, NULL, NULL);
    size_t mark = pc_write_ext_begin(&w);
    pc_write_nil(&w);
    pc_write_ext_end_apart(&w, mark, 5, 256);
    check(&w, "\xc9\x00\x00\x01\x01\x05\xc0", 7);
    mark = pc_write_ext_begin(&w);
    pc_write_ext_end_apart(&w, mark, 5, (size_t)UINT32_MAX + 1);
    assert_int_equal(w.status, PC_TOO_BIG);
}

static void ends_after_a_failure_write_nothing(void **state) {
    (void)state;
    uint8_t memory[8] = {0};
    struct pc_writer w;
    pc_writer_init(&w, memory, 3, 3, NULL, NULL);
    size_t mark = pc_write_ext_begin(&w);
    pc_write_ext_end(&w, mark, PC_EXT_TUPLE);
    mark = pc_write_frame_begin(&w);
    pc_write_frame_end(&w, mark);
    assert_int_equal(w.status, PC_TOO_BIG);
    assert_memory_equal(memory, "\0\0\0\0\0\0\0\0", 8);
}

static void writes_c_strings(void **state) {
    (void)state;
    uint8_t memory[8];
    struct pc_writer w;
    pc_writer_init(&w, memory, sizeof memory, sizeof memory, NULL, NULL);
    pc_write_cstr(&w, "abc");
    check(&w,
          "\xa3"
          "abc",
          4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_vectors),
        cmocka_unit_test(respects_every_limit),
        cmocka_unit_test(survives_failing_allocators),
        cmocka_unit_test(writes_boundary_headers),
        cmocka_unit_test(refuses_counts_beyond_32_bits),
        cmocka_unit_test(fills_in_lengths_afterwards),
        cmocka_unit_test(fills_in_counts_afterwards),
        cmocka_unit_test(counts_that_do_not_fit_fail),
        cmocka_unit_test(fills_in_lengths_of_what_stands_elsewhere),
        cmocka_unit_test(ends_after_a_failure_write_nothing),
        cmocka_unit_test(writes_c_strings),
    };
    return cmocka_run_group_tests_name("codec/pack", tests, NULL, NULL);
}
