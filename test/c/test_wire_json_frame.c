/* wire/json_frame.c: the numbers in front, strictly; every cut; what is written is read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/json_frame.h"

/* A copy with nothing behind it, so that sanitizers see a read past the end. */
static uint8_t *exact(const char *text, size_t n) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    return copy;
}

static bool head_of(const char *text, size_t n, struct pc_json_head *head) {
    uint8_t *copy = exact(text, n);
    bool read = pc_json_head_read(copy, n, head);
    free(copy);
    return read;
}

/* The text of the value as a string of its own, or NULL. */
static char *value_of(const char *text, size_t n, int64_t *python_ns) {
    struct pc_json_head head;
    struct pc_json_answer answer;
    uint8_t *copy = exact(text, n);
    char *value = NULL;
    if (pc_json_head_read(copy, n, &head) && pc_json_answer_read(copy, n, &head, &answer)) {
        value = strndup((const char *)answer.value, answer.size);
        assert_non_null(value);
        *python_ns = answer.python_ns;
    }
    free(copy);
    return value;
}

static void assert_head(const char *text, int64_t kind, uint64_t id) {
    struct pc_json_head head;
    assert_true(head_of(text, strlen(text), &head));
    assert_true(head.kind == kind && head.id == id);
    assert_true(text[head.end] == ',' || text[head.end] == ']');
}

static void assert_no_head(const char *text) {
    struct pc_json_head head;
    assert_false(head_of(text, strlen(text), &head));
}

static void assert_value(const char *text, int64_t python_ns, const char *expected) {
    int64_t ns = -1;
    char *value = value_of(text, strlen(text), &ns);
    assert_non_null(value);
    assert_string_equal(value, expected);
    assert_true(ns == python_ns);
    free(value);
}

static void assert_no_value(const char *text) {
    struct pc_json_head head;
    int64_t ns;
    assert_true(head_of(text, strlen(text), &head));
    assert_null(value_of(text, strlen(text), &ns));
}

static void json_begins_with_a_byte_that_no_packed_frame_has(void **state) {
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        const uint8_t payload[] = {(uint8_t)first};
        assert_int_equal(pc_frame_is_json(payload, 1), first == 0x5b);
    }
    assert_false(pc_frame_is_json((const uint8_t *)"[", 0));
}

static void heads_of_every_size(void **state) {
    (void)state;
    assert_head("[0,0]", 0, 0);
    assert_head("[3,12,\"add\",[1,2],null,null]", 3, 12);
    assert_head("[9223372036854775807,18446744073709551615,", INT64_MAX, UINT64_MAX);
}

static void heads_that_are_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "[",
        "[]",
        "[3]",
        "[3,]",
        "[,3]",
        "{3,1}",
        " [3,1]",
        "[ 3,1]",
        "[3 ,1]",
        "[3, 1]",
        "[3,1 ]",
        "[3,1",
        "[3,1}",
        "[-3,1]",
        "[+3,1]",
        "[3,-1]",
        "[03,1]",
        "[3,01]",
        "[3.0,1]",
        "[3e0,1]",
        "[\"3\",1]",
        "[[3],1]",
        "[3;1]",
        "[3,1:2]",
        "[3,1e1]",
        "[3,\xc2\xb2]",
        "[9223372036854775808,1]",
        "[3,18446744073709551616]",
        "[3,184467440737095516150]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_no_head(texts[i]);
    }
}

static void answers(void **state) {
    (void)state;
    assert_value("[4,1,0,1]", 0, "1");
    assert_value("[4,1,9223372036854775807,{\"a\":[1,2]}]", INT64_MAX, "{\"a\":[1,2]}");
    /* Whatever else stands there is the parser's to refuse. */
    assert_value("[4,1,5,1,2]", 5, "1,2");
    assert_value("[4,1,5, 1 ]", 5, " 1 ");
    assert_value("[5,1,5,]]", 5, "]");
}

static void answers_that_are_none(void **state) {
    (void)state;
    static const char *const texts[] = {
        "[4,1]",      "[4,1,",       "[4,1,5",      "[4,1,5,",    "[4,1,5]",
        "[4,1,5,]",   "[4,1,5,1",    "[4,1,5,1] ",  "[4,1, 5,1]", "[4,1,-5,1]",
        "[4,1,05,1]", "[4,1,5.0,1]", "[4,1,nil,1]", "[4,1,,1]",   "[4,1,9223372036854775808,1]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_no_value(texts[i]);
    }
}

static void every_cut_of_an_answer(void **state) {
    (void)state;
    static const char text[] = "[4,120,3456,[1,{\"a\":null}]]";
    const size_t size = sizeof text - 1;
    for (size_t n = 0; n < size; n++) {
        struct pc_json_head head;
        int64_t ns;
        assert_int_equal(head_of(text, n, &head), n > strlen("[4,120"));
        char *value = value_of(text, n, &ns);
        /* Without its last bracket the frame seems to end with the one of the value. */
        assert_int_equal(value != NULL, n == size - 1);
        free(value);
    }
    assert_value(text, 3456, "[1,{\"a\":null}]");
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const uint64_t ids[] = {0, 1, 9, 10, 4711, UINT64_MAX};
    static const int64_t times[] = {0, 7, 1000000, INT64_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        for (size_t j = 0; j < sizeof times / sizeof *times; j++) {
            struct pc_writer w;
            struct pc_json_head head;
            struct pc_json_answer answer;
            pc_writer_init(&w, NULL, 0, 1024, pc_grow_malloc, NULL);
            pc_json_answer_write(&w, 4, ids[i], times[j]);
            pc_json_put(&w, "true]");
            assert_int_equal(w.status, PC_OK);
            assert_true(pc_json_head_read(w.data, w.len, &head));
            assert_true(head.kind == 4 && head.id == ids[i]);
            assert_true(pc_json_answer_read(w.data, w.len, &head, &answer));
            assert_true(answer.python_ns == times[j]);
            assert_int_equal(answer.size, 4);
            assert_memory_equal(answer.value, "true", 4);
            free(w.data);
        }
    }
}

static void a_writer_that_is_full_says_so(void **state) {
    (void)state;
    for (size_t max = 0; max < strlen("[4,12,345,"); max++) {
        struct pc_writer w;
        pc_writer_init(&w, NULL, 0, max, pc_grow_malloc, NULL);
        pc_json_answer_write(&w, 4, 12, 345);
        assert_int_equal(w.status, PC_TOO_BIG);
        free(w.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_begins_with_a_byte_that_no_packed_frame_has),
        cmocka_unit_test(heads_of_every_size),
        cmocka_unit_test(heads_that_are_none),
        cmocka_unit_test(answers),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(every_cut_of_an_answer),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_writer_that_is_full_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
