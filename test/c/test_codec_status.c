/* codec/status.c: every status has a text of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "codec/limits.h"

static void texts_differ(void **state) {
    (void)state;
    const char *unknown = pc_status_text((enum pc_status)99);
    assert_non_null(unknown);
    for (int a = PC_OK; a <= PC_WRONG_TYPE; a++) {
        const char *text = pc_status_text((enum pc_status)a);
        assert_non_null(text);
        assert_string_not_equal(text, unknown);
        for (int b = PC_OK; b < a; b++) {
            assert_string_not_equal(text, pc_status_text((enum pc_status)b));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_differ)};
    return cmocka_run_group_tests_name("codec/status", tests, NULL, NULL);
}
