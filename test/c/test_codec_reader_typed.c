/* codec/reader_typed.c: each typed read takes its type, and leaves anything else where it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "codec/reader.h"

enum { INT = 1, UINT = 2, STR = 4, BYTES = 8, ARRAY = 16, MAP = 32 };

/* What may be read at the start of the input, each by a fresh reader, as a set of the flags above. */
static int accepted(const char *bytes, size_t n) {
    struct pc_reader r;
    enum pc_status status;
    int set = 0;
    int64_t i;
    uint64_t u;
    uint32_t count;
    const char *text;
    const uint8_t *data;
#define TRY(flag, call)                                                                                                \
    pc_reader_init(&r, bytes, n);                                                                                      \
    status = (call);                                                                                                   \
    if (status == PC_OK) {                                                                                             \
        set |= (flag);                                                                                                 \
    } else {                                                                                                           \
        assert_int_equal(pc_reader_left(&r), n);                                                                       \
    }
    TRY(INT, pc_read_int(&r, &i))
    TRY(UINT, pc_read_uint(&r, &u))
    TRY(STR, pc_read_str(&r, &text, &count))
    TRY(BYTES, pc_read_bytes(&r, &data, &count))
    TRY(ARRAY, pc_read_array(&r, &count))
    TRY(MAP, pc_read_map(&r, &count))
#undef TRY
    return set;
}

static void takes_its_own_type_only(void **state) {
    (void)state;
    assert_int_equal(accepted("\x05", 1), INT | UINT);
    assert_int_equal(accepted("\xff", 1), INT);
    assert_int_equal(accepted("\xcf\x80\0\0\0\0\0\0\0", 9), UINT);
    assert_int_equal(accepted("\xa1x", 2), STR | BYTES);
    assert_int_equal(accepted("\xa1\xff", 2), BYTES);
    assert_int_equal(accepted("\xc4\x01x", 3), BYTES);
    assert_int_equal(accepted("\x91\x01", 2), ARRAY);
    assert_int_equal(accepted("\x81\x01\x02", 3), MAP);
    assert_int_equal(accepted("\xc0", 1), 0);
    assert_int_equal(accepted("\xc3", 1), 0);
    assert_int_equal(accepted("\xca\0\0\0\0", 5), 0);
    assert_int_equal(accepted("\xd4\x01x", 3), 0);
    assert_int_equal(accepted("", 0), 0);
    assert_int_equal(accepted("\xc1", 1), 0);
}

static void gives_values(void **state) {
    (void)state;
    const char bytes[] = "\x93\xfe\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x81\xa2hi\xc4\x02yo";
    struct pc_reader r;
    uint32_t n;
    int64_t i;
    uint64_t u;
    const char *text;
    const uint8_t *data;
    pc_reader_init(&r, bytes, sizeof bytes - 1);
    assert_int_equal(pc_read_array(&r, &n), PC_OK);
    assert_int_equal(n, 3);
    assert_int_equal(pc_read_int(&r, &i), PC_OK);
    assert_int_equal(i, -2);
    assert_int_equal(pc_read_uint(&r, &u), PC_OK);
    assert_true(u == UINT64_MAX);
    assert_int_equal(pc_read_map(&r, &n), PC_OK);
    assert_int_equal(n, 1);
    assert_int_equal(pc_read_str(&r, &text, &n), PC_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(text, "hi", 2);
    assert_int_equal(pc_read_bytes(&r, &data, &n), PC_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(data, "yo", 2);
    assert_int_equal(pc_reader_left(&r), 0);
}

static void tells_why_not(void **state) {
    (void)state;
    struct pc_reader r;
    int64_t i;
    const char *text;
    uint32_t n;
    pc_reader_init(&r, "\xa1\xff", 2);
    assert_int_equal(pc_read_int(&r, &i), PC_WRONG_TYPE);
    assert_int_equal(pc_read_str(&r, &text, &n), PC_INVALID);
    pc_reader_init(&r, "\xd9", 1);
    assert_int_equal(pc_read_str(&r, &text, &n), PC_TRUNCATED);
    pc_reader_init(&r, "\xc1", 1);
    assert_int_equal(pc_read_int(&r, &i), PC_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_its_own_type_only),
        cmocka_unit_test(gives_values),
        cmocka_unit_test(tells_why_not),
    };
    return cmocka_run_group_tests_name("codec/reader_typed", tests, NULL, NULL);
}
