/*
 * Integers beyond 64 bits. The NIF API has none, but the external term format has: a sign byte and the magnitude, least
 * significant byte first, which is the payload of our extension as well.
 */

#include <string.h>

#include "codec/ext.h"
#include "term_private.h"

enum {
    ETF_VERSION = 131,
    ETF_SMALL_BIG = 110, /* u8 length of the magnitude */
    ETF_LARGE_BIG = 111, /* u32 */
    LARGE_HEADER = 6,
    SMALL_PAYLOAD = 256,
};

/* 2 to the power of 8 * PC_HUGE_INTEGER, or that below zero. */
static bool make_bound(ErlNifEnv *env, uint8_t sign, ERL_NIF_TERM *term) {
    uint8_t *payload = enif_alloc(1 + PC_HUGE_INTEGER + 1);
    if (payload == NULL) {
        return false;
    }
    memset(payload, 0, 1 + PC_HUGE_INTEGER);
    payload[0] = sign;
    payload[1 + PC_HUGE_INTEGER] = 1;
    bool made = pc_term_read_bigint(env, payload, 1 + PC_HUGE_INTEGER + 1, term);
    enif_free(payload);
    return made;
}

bool pc_term_make_bounds(ErlNifEnv *env, ERL_NIF_TERM bounds[2]) {
    return make_bound(env, 1, &bounds[0]) && make_bound(env, 0, &bounds[1]);
}

/* The VM compares lengths before digits. */
bool pc_term_is_huge_integer(ERL_NIF_TERM integer) {
    const ERL_NIF_TERM *bounds = pc_term_state()->bounds;
    return enif_compare(integer, bounds[1]) >= 0 || enif_compare(integer, bounds[0]) <= 0;
}

bool pc_term_write_bigint(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM integer) {
    ErlNifBinary etf;
    if (!enif_term_to_binary(env, integer, &etf)) {
        return false;
    }
    size_t header = etf.size > 2 && etf.data[1] == ETF_SMALL_BIG ? 3 : LARGE_HEADER;
    bool known = etf.size > header && (etf.data[1] == ETF_SMALL_BIG || etf.data[1] == ETF_LARGE_BIG);
    if (known) {
        pc_write_ext(w, PC_EXT_BIGINT, etf.data + header, etf.size - header);
    }
    enif_release_binary(&etf);
    return known;
}

bool pc_term_read_bigint(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term) {
    bool canonical = n >= 2 && payload[0] <= 1 && payload[n - 1] != 0;
    if (!canonical) {
        return false;
    }
    uint8_t local[LARGE_HEADER + SMALL_PAYLOAD];
    uint8_t *etf = n <= SMALL_PAYLOAD ? local : enif_alloc(LARGE_HEADER + (size_t)n);
    if (etf == NULL) {
        return false;
    }
    uint32_t magnitude = n - 1;
    etf[0] = ETF_VERSION;
    etf[1] = ETF_LARGE_BIG;
    etf[2] = (uint8_t)(magnitude >> 24);
    etf[3] = (uint8_t)(magnitude >> 16);
    etf[4] = (uint8_t)(magnitude >> 8);
    etf[5] = (uint8_t)magnitude;
    memcpy(etf + LARGE_HEADER, payload, n);
    bool made = enif_binary_to_term(env, etf, LARGE_HEADER + (size_t)n, term, ERL_NIF_BIN2TERM_SAFE) != 0;
    if (etf != local) {
        enif_free(etf);
    }
    return made;
}
