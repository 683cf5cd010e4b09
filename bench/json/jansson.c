/*
 * jansson by itself, for `bench json`: what its own load and free, and its own build and dump, take.
 *
 *   jansson PAYLOAD text          prints the payload as JSON
 *   jansson PAYLOAD decode TIMES  prints the nanoseconds of one load and free, the mean of TIMES
 *   jansson PAYLOAD encode TIMES  prints the nanoseconds of one build, dump and free
 *
 * Status 2: wrong usage; 1: something failed, told on stderr.
 */
#include "payloads.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TIMES_MAX = 100 * 1000 * 1000 };

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static char *dump(const struct payload *payload) {
    json_t *value = payload->build();
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    if (text == NULL) {
        fputs("jansson: cannot dump\n", stderr);
        exit(1);
    }
    return text;
}

static void load(const char *text, size_t n) {
    json_error_t error;
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (value == NULL) {
        fprintf(stderr, "jansson: cannot load: %s\n", error.text);
        exit(1);
    }
    json_decref(value);
}

static uint64_t measure(const struct payload *payload, bool decoding, size_t times) {
    char *text = dump(payload);
    size_t n = strlen(text);
    uint64_t start = now_ns();
    for (size_t i = 0; i < times; i++) {
        if (decoding) {
            load(text, n);
        } else {
            free(dump(payload));
        }
    }
    uint64_t took = now_ns() - start;
    free(text);
    return took / times;
}

static const struct payload *find(const char *name) {
    const struct payload *payload = payloads;
    while (payload->name != NULL && strcmp(payload->name, name) != 0) {
        payload++;
    }
    return payload->name != NULL ? payload : NULL;
}

/* A whole decimal number from 1 to TIMES_MAX, or 0. */
static size_t number(const char *text) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    return errno || *end || end == text || n > TIMES_MAX ? 0 : n;
}

int main(int argc, char **argv) {
    const struct payload *payload = argc >= 3 ? find(argv[1]) : NULL;
    json_object_seed(0);
    if (payload && argc == 3 && !strcmp(argv[2], "text")) {
        puts(dump(payload));
        return 0;
    }
    bool decoding = argc == 4 && !strcmp(argv[2], "decode");
    size_t times = argc == 4 ? number(argv[3]) : 0;
    if (!payload || !times || (!decoding && strcmp(argv[2], "encode"))) {
        fputs("usage: jansson PAYLOAD text | decode TIMES | encode TIMES\n", stderr);
        return 2;
    }
    printf("%llu\n", (unsigned long long)measure(payload, decoding, times));
    return 0;
}
