#ifndef BENCH_JSON_PAYLOADS_H
#define BENCH_JSON_PAYLOADS_H

#include <jansson.h>

struct payload {
    const char *name;
    json_t *(*build)(void); /* a new reference */
};

/* Ends with a row whose name is NULL. */
extern const struct payload payloads[];

#endif
