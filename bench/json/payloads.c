/* The payloads of `bench json`, built with jansson's public functions. payloads.exs has the same values in Elixir. */

#include "payloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRING_BYTES = 10000 };

/* Nothing here can go on without memory, so a failure of any of jansson's calls ends the program. */
static json_t *made(json_t *value) {
    if (value == NULL) {
        fputs("jansson: out of memory\n", stderr);
        exit(1);
    }
    return value;
}

static void append(json_t *array, json_t *value) {
    if (json_array_append_new(array, made(value)) != 0) {
        made(NULL);
    }
}

static void set(json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, made(value)) != 0) {
        made(NULL);
    }
}

static json_t *small_map(void) {
    json_t *map = made(json_object());
    json_t *tags = made(json_array());
    append(tags, json_string("first"));
    append(tags, json_string("second"));
    append(tags, json_null());
    set(map, "active", json_true());
    set(map, "id", json_integer(123456));
    set(map, "name", json_string("Ada Lovelace"));
    set(map, "score", json_real(97.5));
    set(map, "tags", tags);
    return map;
}

static json_t *ints(void) {
    json_t *list = made(json_array());
    for (json_int_t i = 0; i < 1000; i++) {
        append(list, json_integer(i * 7919 % 1000003));
    }
    return list;
}

static json_t *floats(void) {
    json_t *list = made(json_array());
    for (int i = 0; i < 100000; i++) {
        append(list, json_real(i / 7.0));
    }
    return list;
}

static json_t *maps(void) {
    json_t *list = made(json_array());
    for (json_int_t i = 0; i < 1000; i++) {
        json_t *map = made(json_object());
        set(map, "active", json_boolean(i % 2 == 0));
        set(map, "city", json_string("Bletchley"));
        set(map, "email", json_string("ada@example.org"));
        set(map, "id", json_integer(i));
        set(map, "name", json_string("Ada Lovelace"));
        set(map, "score", json_real((double)i / 8.0));
        append(list, map);
    }
    return list;
}

static json_t *strings(void) {
    static char text[STRING_BYTES + 1];
    json_t *list = made(json_array());
    for (int i = 0; i < 50; i++) {
        for (int j = 0; j < STRING_BYTES; j++) {
            text[j] = (char)('a' + (i + j) % 26);
        }
        append(list, json_stringn(text, STRING_BYTES));
    }
    return list;
}

static json_t *cells(json_int_t i) {
    json_t *list = made(json_array());
    json_t *flags = made(json_array());
    json_t *map = made(json_object());
    append(flags, json_true());
    append(flags, json_null());
    append(flags, json_real(1.5));
    set(map, "flags", flags);
    set(map, "label", json_string("cell"));
    append(list, json_integer(i));
    append(list, json_integer(-i));
    append(list, map);
    return list;
}

static json_t *rows(void) {
    json_t *list = made(json_array());
    for (json_int_t i = 0; i < 200; i++) {
        json_t *row = made(json_object());
        set(row, "cells", cells(i));
        set(row, "row", json_integer(i));
        append(list, row);
    }
    return list;
}

const struct payload payloads[] = {
    {"small_map", small_map},
    {"ints_1000", ints},
    {"floats_100000", floats},
    {"maps_1000x6", maps},
    {"strings_50x10kB", strings},
    {"rows_200", rows},
    {NULL, NULL},
};
