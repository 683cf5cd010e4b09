/* codec/calendar.c: days that exist, seconds that they are, and MessagePack's timestamp in its three widths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "codec/calendar.h"
#include "codec/ext.h"
#include "codec/reader.h"

static struct pc_civil date(int64_t year, int64_t month, int64_t day) {
    return (struct pc_civil){.year = year, .month = month, .day = day};
}

static bool exists(int64_t year, int64_t month, int64_t day) {
    struct pc_civil c = date(year, month, day);
    return pc_civil_date_exists(&c);
}

static void leap_years_have_a_day_more(void **state) {
    (void)state;
    assert_true(exists(2024, 2, 29) && exists(2000, 2, 29) && exists(0, 2, 29) && exists(-4, 2, 29) &&
                exists(-400, 2, 29));
    assert_false(exists(2023, 2, 29) || exists(1900, 2, 29) || exists(-1, 2, 29) || exists(-100, 2, 29));
}

static void dates_outside_do_not_exist(void **state) {
    (void)state;
    assert_true(exists(9999, 12, 31) && exists(-9999, 1, 1) && exists(2024, 4, 30));
    assert_false(exists(10000, 1, 1) || exists(-10000, 12, 31) || exists(2024, 0, 1) || exists(2024, 13, 1));
    assert_false(exists(2024, 1, 0) || exists(2024, 1, 32) || exists(2024, 4, 31));
    assert_false(exists(INT64_MAX, 1, 1) || exists(INT64_MIN, 1, 1) || exists(1, INT64_MIN, 1) ||
                 exists(1, 1, INT64_MAX));
}

static void times_outside_do_not_exist(void **state) {
    (void)state;
    const struct pc_civil last = {.hour = 23, .minute = 59, .second = 59, .microsecond = 999999, .precision = 6};
    assert_true(pc_civil_time_exists(&last));
    for (size_t field = 0; field < 5; field++) {
        struct pc_civil c = last;
        int64_t *fields[] = {&c.hour, &c.minute, &c.second, &c.microsecond, &c.precision};
        ++*fields[field];
        assert_false(pc_civil_time_exists(&c));
        *fields[field] = -1;
        assert_false(pc_civil_time_exists(&c));
        *fields[field] = 0;
        assert_true(pc_civil_time_exists(&c));
    }
}

/* Every day of all years, counted one by one. */
static void seconds_and_dates_are_inverse(void **state) {
    (void)state;
    struct pc_civil c = date(PC_YEAR_FIRST, 1, 1);
    int64_t seconds = pc_civil_to_seconds(&c);
    while (c.year <= PC_YEAR_LAST) {
        struct pc_civil back = {0};
        assert_int_equal(pc_civil_to_seconds(&c), seconds);
        assert_true(pc_civil_from_seconds(seconds + 86399, &back));
        assert_true(back.year == c.year && back.month == c.month && back.day == c.day);
        assert_true(back.hour == 23 && back.minute == 59 && back.second == 59);
        seconds += 86400;
        c.day++;
        if (!pc_civil_date_exists(&c)) {
            c.day = 1;
            c.month = c.month % 12 + 1;
            c.year += c.month == 1;
        }
    }
    assert_int_equal(seconds, INT64_C(253402300800));
    struct pc_civil none;
    assert_false(pc_civil_from_seconds(seconds, &none));
}

static void agrees_with_the_system(void **state) {
    (void)state;
    const time_t moments[] = {0, 1, -1, 951782400, 1709164800, 4102444800, -2208988800, 253402300799};
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        struct tm tm;
        struct pc_civil c = {0};
        assert_non_null(gmtime_r(&moments[i], &tm));
        assert_true(pc_civil_from_seconds(moments[i], &c));
        assert_true(c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 && c.day == tm.tm_mday);
        assert_true(c.hour == tm.tm_hour && c.minute == tm.tm_min && c.second == tm.tm_sec);
    }
}

static void moments_of_other_years_are_refused(void **state) {
    (void)state;
    struct pc_civil c;
    struct pc_civil first = date(PC_YEAR_FIRST, 1, 1);
    int64_t seconds = pc_civil_to_seconds(&first);
    assert_true(pc_civil_from_seconds(seconds, &c));
    assert_false(pc_civil_from_seconds(seconds - 1, &c));
    assert_false(pc_civil_from_seconds(INT64_MAX, &c));
    assert_false(pc_civil_from_seconds(INT64_MIN, &c));
}

static void check_timestamp(int64_t seconds, uint32_t nanoseconds, const char *bytes, size_t n) {
    uint8_t memory[16];
    struct pc_writer w;
    struct pc_reader r;
    struct pc_token t;
    struct pc_timestamp back = {0};
    pc_writer_init(&w, memory, sizeof memory, sizeof memory, NULL, NULL);
    pc_write_timestamp(&w, (struct pc_timestamp){seconds, nanoseconds});
    assert_int_equal(w.len, n);
    assert_memory_equal(w.data, bytes, n);
    pc_reader_init(&r, w.data, w.len);
    assert_int_equal(pc_reader_next(&r, &t), PC_OK);
    assert_int_equal(t.ext, PC_EXT_TIMESTAMP);
    assert_true(pc_timestamp_read(t.data, t.len, &back));
    assert_true(back.seconds == seconds && back.nanoseconds == nanoseconds);
}

static void timestamps_take_the_shortest_form(void **state) {
    (void)state;
    check_timestamp(0, 0, "\xd6\xff\0\0\0\0", 6);
    check_timestamp(UINT32_MAX, 0, "\xd6\xff\xff\xff\xff\xff", 6);
    check_timestamp(INT64_C(1) << 32, 0, "\xd7\xff\0\0\0\x01\0\0\0\0", 10);
    check_timestamp(0, 1, "\xd7\xff\0\0\0\x04\0\0\0\0", 10);
    check_timestamp((INT64_C(1) << 34) - 1, 999999999, "\xd7\xff\xee\x6b\x27\xff\xff\xff\xff\xff", 10);
    check_timestamp(INT64_C(1) << 34, 0, "\xc7\x0c\xff\0\0\0\0\0\0\0\x04\0\0\0\0", 15);
    check_timestamp(-1, 5, "\xc7\x0c\xff\0\0\0\x05\xff\xff\xff\xff\xff\xff\xff\xff", 15);
    check_timestamp(INT64_MIN, 0, "\xc7\x0c\xff\0\0\0\0\x80\0\0\0\0\0\0\0", 15);
}

static void malformed_timestamps_are_refused(void **state) {
    (void)state;
    const uint8_t payload[16] = {0};
    const uint8_t many8[8] = {0xee, 0x6b, 0x28, 0x00}; /* 1,000,000,000 ns */
    const uint8_t many12[12] = {0x3b, 0x9a, 0xca, 0x00};
    struct pc_timestamp t;
    for (size_t n = 0; n <= sizeof payload; n++) {
        assert_int_equal(pc_timestamp_read(payload, n, &t), n == 4 || n == 8 || n == 12);
    }
    assert_false(pc_timestamp_read(many8, sizeof many8, &t));
    assert_false(pc_timestamp_read(many12, sizeof many12, &t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leap_years_have_a_day_more),
        cmocka_unit_test(dates_outside_do_not_exist),
        cmocka_unit_test(times_outside_do_not_exist),
        cmocka_unit_test(seconds_and_dates_are_inverse),
        cmocka_unit_test(agrees_with_the_system),
        cmocka_unit_test(moments_of_other_years_are_refused),
        cmocka_unit_test(timestamps_take_the_shortest_form),
        cmocka_unit_test(malformed_timestamps_are_refused),
    };
    return cmocka_run_group_tests_name("codec/calendar", tests, NULL, NULL);
}
