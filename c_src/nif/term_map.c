/*
 * Maps from arrays that may hold duplicate keys, of which the last wins.
 *
 * enif_make_map_from_arrays refuses duplicates among up to 32 pairs; of more it makes a map with the right size, but on
 * OTP 25 a broken one when 32 or fewer keys remain. So a map with fewer keys than pairs is thrown away,
 * and made again from keys that differ. Putting pair after pair instead would leave a copy of the
 * tree's path on the heap for each: far more memory than the input.
 */

#include <string.h>

#include "term_private.h"

enum { MOST_SMALL = 32 };

/* Open addressing, keyed by keys[entry - 1]; 0 is an empty place. */
struct key_index {
    uint32_t *places;
    size_t mask;
    ErlNifUInt64 salt;
};

static bool index_init(struct key_index *index, size_t n) {
    size_t size = 8;
    while (size < 2 * n) {
        size *= 2;
    }
    index->mask = size - 1;
    index->salt = (ErlNifUInt64)enif_monotonic_time(ERL_NIF_NSEC); /* so that nobody can prepare keys that collide */
    index->places = enif_alloc(size * sizeof *index->places);
    if (index->places == NULL) {
        return false;
    }
    memset(index->places, 0, size * sizeof *index->places);
    return true;
}

/* The place that holds the key, or the empty one where it belongs. */
static uint32_t *index_find(const struct key_index *index, const ERL_NIF_TERM *keys, ERL_NIF_TERM key) {
    size_t at = (size_t)enif_hash(ERL_NIF_INTERNAL_HASH, key, index->salt) & index->mask;
    while (index->places[at] != 0 && !enif_is_identical(keys[index->places[at] - 1], key)) {
        at = (at + 1) & index->mask;
    }
    return &index->places[at];
}

/* Moves the keys that differ to the front, each with its last value; returns how many, or 0 when out of memory. */
static size_t keep_last(ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t n) {
    struct key_index index;
    if (!index_init(&index, n)) {
        return 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t *place = index_find(&index, keys, keys[i]);
        if (*place == 0) {
            keys[kept] = keys[i];
            *place = (uint32_t)++kept;
        }
        values[*place - 1] = values[i];
    }
    enif_free(index.places);
    return kept;
}

bool pc_term_make_map(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t n, ERL_NIF_TERM *map) {
    size_t size;
    if (enif_make_map_from_arrays(env, keys, values, n, map) &&
        (n <= MOST_SMALL || (enif_get_map_size(env, *map, &size) && size == n))) {
        return true;
    }
    n = keep_last(keys, values, n);
    return n > 0 && enif_make_map_from_arrays(env, keys, values, n, map);
}
