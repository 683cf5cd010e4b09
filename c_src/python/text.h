#ifndef PC_PYTHON_TEXT_H
#define PC_PYTHON_TEXT_H

/*
 * Making the two commonest objects, short strings and small numbers, faster than CPython's general functions do. Nothing here reads
 * past the end of what it is given: the last block overlaps the one before.
 */

#include <stdint.h>
#include <string.h>

#include "codec/writer.h"
#include "core.h"

#define PC_TEXT_HIGH UINT64_C(0x8080808080808080)

static inline uint64_t pc_text_load8(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline uint64_t pc_text_load4(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Whether n bytes, at least 16, are all ASCII. */
int pc_text_is_ascii_long(const uint8_t *bytes, size_t n);

/* Whether all bytes are ASCII. */
static inline int pc_text_is_ascii(const uint8_t *p, size_t n) {
    if (n >= 16) {
        return pc_text_is_ascii_long(p, n);
    }
    uint64_t all = 0;
    if (n >= 8) {
        all = pc_text_load8(p) | pc_text_load8(p + n - 8);
    } else if (n >= 4) {
        all = pc_text_load4(p) | pc_text_load4(p + n - 4);
    } else {
        for (size_t i = 0; i < n; i++) {
            all |= p[i];
        }
    }
    return (all & PC_TEXT_HIGH) == 0;
}

/* A str of UTF-8; `errors` as in bytes.decode, NULL for "strict". UnicodeDecodeError. */
static inline PyObject *pc_text_new(const uint8_t *utf8, uint32_t n, const char *errors) {
    if (n < 2 || !pc_text_is_ascii(utf8, n)) { /* CPython keeps the strings of one character */
        return PyUnicode_DecodeUTF8((const char *)utf8, (Py_ssize_t)n, errors);
    }
    PyObject *text = PyUnicode_New((Py_ssize_t)n, 127);
    if (text != NULL) {
        pc_bytes_copy(PyUnicode_DATA(text), utf8, n);
    }
    return text;
}

/* The ints below PC_TEXT_INTS. */
enum { PC_TEXT_INTS = 128 };
extern PyObject *pc_text_ints[PC_TEXT_INTS];

int pc_text_init(void);

#endif
