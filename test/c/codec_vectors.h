#ifndef PC_TEST_CODEC_VECTORS_H
#define PC_TEST_CODEC_VECTORS_H

/* Reads the files of test/vectors; include after cmocka.h. Fails the running test when a file is not as documented. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vector {
    const char *name;
    const char *third; /* the value, or why the bytes are refused */
    uint8_t *bytes;    /* exactly n bytes of heap, so that a sanitizer sees the first one too many */
    size_t n;
};

typedef void (*vector_fn)(const struct vector *v, void *arg);

static inline uint8_t vector_hex(char c) {
    assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static inline void vector_run_line(char *line, vector_fn fn, void *arg) {
    char *hex = strchr(line, '\t');
    assert_non_null(hex);
    *hex++ = '\0';
    char *third = strchr(hex, '\t');
    assert_non_null(third);
    *third++ = '\0';
    size_t digits = strlen(hex);
    assert_int_equal(digits % 2, 0);
    struct vector v = {.name = line, .third = third, .n = digits / 2};
    v.bytes = malloc(v.n != 0 ? v.n : 1);
    assert_non_null(v.bytes);
    for (size_t i = 0; i < v.n; i++) {
        v.bytes[i] = (uint8_t)(vector_hex(hex[2 * i]) << 4 | vector_hex(hex[2 * i + 1]));
    }
    fn(&v, arg);
    free(v.bytes);
}

/* Calls fn for every vector of a file below PC_TEST_ROOT/vectors; returns how many there were. */
static inline size_t vectors_run(const char *file, vector_fn fn, void *arg) {
    char path[4096];
    assert_true(snprintf(path, sizeof path, "%s/vectors/%s", PC_TEST_ROOT, file) < (int)sizeof path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0;
    size_t count = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, f)) > 0) {
        if (line[n - 1] == '\n') {
            line[n - 1] = '\0';
        }
        if (line[0] != '#') {
            vector_run_line(line, fn, arg);
            count++;
        }
    }
    free(line);
    (void)fclose(f);
    return count;
}

#endif
