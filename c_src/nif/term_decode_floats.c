/*
 * Arrays of floats. The NIF API makes one float at a time, each with a word more than it needs of a heap fragment that holds
 * a hundred; the external term format makes the whole list in memory of the right size. A float64 is the same eight bytes in
 * both formats, behind another tag, so a list is translated by writing tags.
 */

#include <string.h>

#include "term_decoder.h"

enum {
    ETF_VERSION = 131,
    ETF_LIST = 108,
    ETF_FLOAT = 70,
    ETF_NIL = 106,
    ETF_HEAD = 6, /* version, tag, u32 */
};

/* Those that are not have no form in the external term format; other code sees to them. */
static bool is_finite(const uint8_t *p) { return (p[1] & 0x7f) != 0x7f || (p[2] & 0xf0) != 0xf0; }

static bool are_floats(const uint8_t *p, uint32_t n) {
    for (uint32_t i = 0; i < n; i++, p += FLOAT64_BYTES) {
        if (*p != FLOAT64_HEAD || !is_finite(p)) {
            return false;
        }
    }
    return true;
}

static void translate(uint8_t *etf, const uint8_t *p, uint32_t n) {
    const uint8_t head[ETF_HEAD] = {ETF_VERSION,        ETF_LIST,          (uint8_t)(n >> 24),
                                    (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(etf, head, sizeof head);
    etf += ETF_HEAD;
    memcpy(etf, p, (size_t)n * FLOAT64_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        etf[(size_t)i * FLOAT64_BYTES] = ETF_FLOAT;
    }
    etf[(size_t)n * FLOAT64_BYTES] = ETF_NIL;
}

static enum pc_status make_list(struct decoder *d, const uint8_t *p, uint32_t n, bool *done, ERL_NIF_TERM *term) {
    size_t size = ETF_HEAD + (size_t)n * FLOAT64_BYTES + 1;
    uint8_t *etf = enif_alloc(size);
    if (etf == NULL) {
        return failed(d, PC_NO_MEMORY);
    }
    translate(etf, p, n);
    *done = enif_binary_to_term(d->env, etf, size, term, ERL_NIF_BIN2TERM_SAFE) == size;
    enif_free(etf);
    return PC_OK;
}

enum pc_status pc_term_decode_floats(struct decoder *d, uint32_t n, bool *done, ERL_NIF_TERM *term) {
    const uint8_t *start = d->r->p;
    enum pc_status status = PC_OK;
    *done = false;
    /* Read before they are paid for: whoever looks at the clock compares what was paid with what has been read. */
    d->r->p += (size_t)n * FLOAT64_BYTES;
    d->units -= n;
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
    if (are_floats(start, n)) {
        status = make_list(d, start, n, done, term);
    }
    if (!*done) {
        d->r->p = start;
    }
    return status;
}
