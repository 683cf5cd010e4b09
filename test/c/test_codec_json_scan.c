/* codec/json_scan.c: depth, surrogates, integers that do not fit, and places in a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "codec/json_scan.h"

/* A copy with nothing behind it, so that sanitizers see a read past the end. */
static char *exact(const char *text, size_t n) {
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    return copy;
}

/* The position where the depth passes `most`, or 0. Short texts are looked at as well: `most` below their length does it. */
static size_t too_deep(const char *text, unsigned most) {
    size_t n = strlen(text);
    char *copy = exact(text, n);
    size_t position = 0;
    bool within = pc_json_depth_within(copy, n, most, &position);
    free(copy);
    assert_int_equal(within, position == 0);
    return position;
}

static void test_depth_counts_open_containers(void **state) {
    (void)state;
    assert_int_equal(too_deep("[[1],[2],[3],{\"a\":[4]}]", 2), 19);
    assert_int_equal(too_deep("[[1],[2],[3],{\"a\":[4]}]", 3), 0);
    assert_int_equal(too_deep("[{}]", 1), 2);
    assert_int_equal(too_deep("[{}]", 2), 0);
    assert_int_equal(too_deep("123", 0), 0);
    assert_int_equal(too_deep("[]", 0), 1);
}

static void test_depth_ignores_brackets_in_strings(void **state) {
    (void)state;
    assert_int_equal(too_deep("[\"[[[[\",\"{{{\"]", 1), 0);
    assert_int_equal(too_deep("[\"\\\"[[[[\"]", 1), 0);
    assert_int_equal(too_deep("[\"\\\\\",[]]", 1), 7);
    assert_int_equal(too_deep("[\"\\\\\\\"[[\",1]", 1), 0);
    assert_int_equal(too_deep("[\"[[[[[", 1), 0);
    assert_int_equal(too_deep("[\"[[[[[\\\"", 1), 0);
    assert_int_equal(too_deep("[\"", 1), 0);
}

/* jansson reads nothing behind a bracket that closes what is not open. */
static void test_depth_stops_where_the_parser_does(void **state) {
    (void)state;
    assert_int_equal(too_deep("]]]][[[[", 1), 0);
    assert_int_equal(too_deep("[]][[[[[", 1), 0);
}

/* The position behind the surrogate that is alone, or 0. */
static size_t alone(const char *text) {
    size_t n = strlen(text);
    char *copy = exact(text, n);
    size_t position = 0;
    bool paired = pc_json_surrogates_paired(copy, n, &position);
    free(copy);
    assert_int_equal(paired, position == 0);
    return position;
}

static void test_finds_surrogates_that_are_alone(void **state) {
    (void)state;
    assert_int_equal(alone("\"\\ud83d\\ude00\""), 0);
    assert_int_equal(alone("\"\\uD83D\\uDE00\\u00e9\""), 0);
    assert_int_equal(alone("\"\\ud83d\""), 7);
    assert_int_equal(alone("\"\\ud83dx\\ude00\""), 7);
    assert_int_equal(alone("\"a\\ude00\\ud83d\""), 8);
    assert_int_equal(alone("\"\\ud83d\\ud83d\\ude00\""), 7);
    assert_int_equal(alone("\"\\ud83d\\ude00\\ude00\""), 19);
}

static void test_other_escapes_are_no_surrogates(void **state) {
    (void)state;
    assert_int_equal(alone(""), 0);
    assert_int_equal(alone("\"\\\\ud83d\""), 0); /* a backslash, then text */
    assert_int_equal(alone("\"\\\\\\ud83d\""), 9);
    assert_int_equal(alone("\"\\u00e9\\n\\\"\\ue000\\ud7ff\""), 0);
    assert_int_equal(alone("\"\\ud8zz\\u\021d800\""), 0);
}

/* Whatever is missing at the end, nothing behind it is read. */
static void test_escapes_may_be_cut_anywhere(void **state) {
    (void)state;
    static const char text[] = "\"\\ud83d\\ude00";
    for (size_t n = 0; n < sizeof text; n++) {
        char *copy = exact(text, n);
        size_t position = 0;
        bool paired = pc_json_surrogates_paired(copy, n, &position);
        free(copy);
        assert_int_equal(paired, n < 7 || n == sizeof text - 1);
    }
}

static void assert_widens(const char *text, const char *expected, size_t expected_count) {
    size_t n = strlen(text);
    char *copy = exact(text, n);
    size_t count = pc_json_count_big(copy, n);
    assert_int_equal(count, expected_count);
    char *out = malloc(n + 2 * count + 1);
    assert_non_null(out);
    out[n + 2 * count] = '\0';
    pc_json_widen(copy, n, out);
    assert_string_equal(out, expected);
    free(out);
    free(copy);
}

static void test_widens_what_does_not_fit(void **state) {
    (void)state;
    assert_widens("9223372036854775807", "9223372036854775807", 0);
    assert_widens("9223372036854775808", "9223372036854775808.0", 1);
    assert_widens("-9223372036854775808", "-9223372036854775808", 0);
    assert_widens("-9223372036854775809", "-9223372036854775809.0", 1);
    assert_widens("[10000000000000000000,1]", "[10000000000000000000.0,1]", 1);
    assert_widens("{\"a\":99999999999999999999,\"b\":-99999999999999999999}",
                  "{\"a\":99999999999999999999.0,\"b\":-99999999999999999999.0}", 2);
}

static void test_leaves_the_rest(void **state) {
    (void)state;
    assert_widens("", "", 0);
    assert_widens("99999999999999999999.5", "99999999999999999999.5", 0);
    assert_widens("99999999999999999999e1", "99999999999999999999e1", 0);
    assert_widens("99999999999999999999E+1", "99999999999999999999E+1", 0);
    assert_widens("0.99999999999999999999", "0.99999999999999999999", 0);
    assert_widens("1e-99999999999999999999", "1e-99999999999999999999", 0);
    assert_widens("\"99999999999999999999\"", "\"99999999999999999999\"", 0);
    assert_widens("\"\\\"99999999999999999999\"", "\"\\\"99999999999999999999\"", 0);
    assert_widens("\"99999999999999999999", "\"99999999999999999999", 0);
    assert_widens("-", "-", 0);
}

/* Every byte of the copy is found where it came from; what was put in belongs to the end of its integer. */
static void test_narrow_finds_every_position(void **state) {
    (void)state;
    static const char text[] = "[99999999999999999999,\"9\",1,-99999999999999999999]";
    size_t n = sizeof text - 1;
    char copy[sizeof text + 4];
    size_t length = n + 4;
    pc_json_widen(text, n, copy);
    assert_int_equal(pc_json_count_big(text, n), 2);
    assert_int_equal(pc_json_narrow(text, n, 0), 0);
    for (size_t i = 1; i <= length; i++) {
        size_t at = pc_json_narrow(text, n, i);
        bool put_in = copy[i - 1] == '.' || (i > 1 && copy[i - 2] == '.');
        assert_in_range(at, 1, n);
        assert_true(put_in || text[at - 1] == copy[i - 1]);
        assert_true(at >= pc_json_narrow(text, n, i - 1));
    }
    assert_int_equal(pc_json_narrow(text, n, length), n);
}

static void assert_place(const char *text, size_t position, int line, int column) {
    int l;
    int c;
    pc_json_place(text, position, &l, &c);
    assert_int_equal(l, line);
    assert_int_equal(c, column);
}

static void test_place_counts_lines_and_characters(void **state) {
    (void)state;
    assert_place("", 0, 1, 0);
    assert_place("abc", 2, 1, 2);
    assert_place("a\nb\n", 2, 2, 0);
    assert_place("a\nb\n", 3, 2, 1);
    assert_place("\xc3\xa9\xf0\x9f\x98\x80x", 7, 1, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_counts_open_containers),
        cmocka_unit_test(test_depth_ignores_brackets_in_strings),
        cmocka_unit_test(test_depth_stops_where_the_parser_does),
        cmocka_unit_test(test_finds_surrogates_that_are_alone),
        cmocka_unit_test(test_other_escapes_are_no_surrogates),
        cmocka_unit_test(test_escapes_may_be_cut_anywhere),
        cmocka_unit_test(test_widens_what_does_not_fit),
        cmocka_unit_test(test_leaves_the_rest),
        cmocka_unit_test(test_narrow_finds_every_position),
        cmocka_unit_test(test_place_counts_lines_and_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
