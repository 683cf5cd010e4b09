/* See mark.h. */

#include "mark.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static char *place;

int pc_mark_find(void) {
    if (place != NULL) {
        return 0;
    }
    char *value = getenv(PC_MARK_NAME);
    size_t n = value == NULL ? 0 : strlen(value);
    if (n <= PC_MARK_DIGITS + 1 || value[n - PC_MARK_DIGITS - 1] != '-') {
        return -ENOENT;
    }
    place = value + n - PC_MARK_DIGITS;
    return 0;
}

void pc_mark_digits(char *digits, uint32_t wid) {
    for (int i = PC_MARK_DIGITS - 1; i >= 0; i--) {
        digits[i] = "0123456789abcdef"[wid & 0xf];
        wid >>= 4;
    }
}

void pc_mark_set(uint32_t wid) { pc_mark_digits(place, wid); }
