/* c_src/port/rate.c: a burst, then so much a second, whatever the pieces. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "port/rate.h"

/* How many of a cost are allowed. */
static unsigned take(struct pc_rate *r, int64_t now, uint64_t cost) {
    unsigned n = 0;
    while (pc_rate_allows(r, now, cost)) {
        n++;
    }
    return n;
}

static void test_burst(void **state) {
    struct pc_rate r = {0};
    (void)state;
    assert_int_equal(take(&r, 5, 1024), PC_RATE_BURST / 1024);
    assert_int_equal(take(&r, 5, 1), 0);
    /* A clock that goes back, or stands still, gives nothing. */
    assert_int_equal(take(&r, 4, 1), 0);
}

static void test_a_second_gives_the_rate(void **state) {
    (void)state;
    for (int step = 1; step <= 1000; step *= 10) {
        struct pc_rate r = {0};
        unsigned n = 0;
        assert_int_equal(take(&r, 1, 64), PC_RATE_BURST / 64);
        for (int64_t now = 1 + step; now <= 1001; now += step) {
            n += take(&r, now, 64);
        }
        /* In steps so small that each gives a fraction of a line nothing is lost but the fractions of milliseconds. */
        assert_in_range(n, PC_RATE_PER_SECOND / 64 - 16, PC_RATE_PER_SECOND / 64);
    }
}

static void test_silence_fills_it_up_and_no_more(void **state) {
    static const int64_t silences[] = {PC_RATE_BURST * INT64_C(1000) / PC_RATE_PER_SECOND, 1 << 30, INT64_MAX - 10};
    (void)state;
    for (size_t i = 0; i < sizeof silences / sizeof *silences; i++) {
        struct pc_rate r = {0};
        assert_int_equal(take(&r, 10, 32), PC_RATE_BURST / 32);
        assert_int_equal(take(&r, 10 + silences[i], 32), PC_RATE_BURST / 32);
    }
}

/* One line costs at most 8 KiB and 32: it always fits a bucket that has leaked. */
static void test_large_and_small(void **state) {
    struct pc_rate r = {0};
    (void)state;
    assert_true(pc_rate_allows(&r, 1, PC_RATE_BURST));
    assert_false(pc_rate_allows(&r, 1, 1));
    assert_false(pc_rate_allows(&r, 2, PC_RATE_BURST));
    assert_true(pc_rate_allows(&r, 3, 32));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_a_second_gives_the_rate),
        cmocka_unit_test(test_silence_fills_it_up_and_no_more),
        cmocka_unit_test(test_large_and_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
