/* See text.h. */

#include "text.h"

PyObject *pc_text_ints[PC_TEXT_INTS];

int pc_text_init(void) {
    for (long i = 0; i < PC_TEXT_INTS; i++) {
        pc_text_ints[i] = PyLong_FromLong(i);
        if (pc_text_ints[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Sixteen bytes at once, which every compiler has registers for. */
typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair load16(const uint8_t *p) {
    pair both;
    memcpy(&both, p, sizeof both);
    return both;
}

int pc_text_is_ascii_long(const uint8_t *p, size_t n) {
    const uint8_t *end = p + n;
    while (end - p > 64) {
        pair all = load16(p) | load16(p + 16) | load16(p + 32) | load16(p + 48);
        if (((all[0] | all[1]) & PC_TEXT_HIGH) != 0) {
            return 0;
        }
        p += 64;
    }
    while (end - p > 16) {
        pair all = load16(p);
        if (((all[0] | all[1]) & PC_TEXT_HIGH) != 0) {
            return 0;
        }
        p += 16;
    }
    pair last = load16(end - 16);
    return ((last[0] | last[1]) & PC_TEXT_HIGH) == 0;
}
