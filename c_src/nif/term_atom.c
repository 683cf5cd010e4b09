/*
 * Atoms by their text. The NIF API of OTP 25 knows Latin-1 only, so an atom beyond it takes the external term format.
 * No atom is ever made from input: only existing ones are found.
 */

#include <string.h>

#include "codec/ext.h"
#include "term_private.h"

enum {
    MOST_CHARS = 255,
    MOST_BYTES = 4 * MOST_CHARS,
    ETF_VERSION = 131,
    ETF_ATOM_UTF8 = 118,       /* u16 length */
    ETF_SMALL_ATOM_UTF8 = 119, /* u8 length */
};

static bool is_ascii(const uint8_t *text, size_t n) {
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= text[i];
    }
    return all < 0x80;
}

static size_t latin1_to_utf8(const uint8_t *latin1, size_t n, uint8_t *utf8) {
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = latin1[i];
        if (c < 0x80) {
            utf8[length++] = c;
        } else {
            utf8[length++] = (uint8_t)(0xc0 | c >> 6);
            utf8[length++] = (uint8_t)(0x80 | (c & 0x3f));
        }
    }
    return length;
}

/* Of valid UTF-8; false if there is a character above U+00FF or more than an atom holds. */
static bool utf8_to_latin1(const uint8_t *utf8, size_t n, uint8_t latin1[MOST_CHARS], size_t *length) {
    size_t chars = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = utf8[i];
        if (c > 0xc3 || chars == MOST_CHARS) {
            return false;
        }
        latin1[chars++] = c < 0x80 ? c : (uint8_t)((c & 0x03) << 6 | (utf8[++i] & 0x3f));
    }
    *length = chars;
    return true;
}

static void write_text(struct pc_writer *w, const uint8_t *utf8, size_t n, bool as_str) {
    if (as_str) {
        pc_write_str(w, utf8, n);
    } else {
        pc_write_ext(w, PC_EXT_ATOM, utf8, n);
    }
}

static bool write_by_etf(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM atom, bool as_str) {
    ErlNifBinary etf;
    if (!enif_term_to_binary(env, atom, &etf)) {
        return false;
    }
    bool known = true;
    if (etf.size > 3 && etf.data[1] == ETF_SMALL_ATOM_UTF8) {
        write_text(w, etf.data + 3, etf.size - 3, as_str);
    } else if (etf.size > 4 && etf.data[1] == ETF_ATOM_UTF8) {
        write_text(w, etf.data + 4, etf.size - 4, as_str);
    } else {
        known = false;
    }
    enif_release_binary(&etf);
    return known;
}

bool pc_term_write_atom(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM atom, bool as_str) {
    uint8_t latin1[MOST_CHARS + 1];
    int size = enif_get_atom(env, atom, (char *)latin1, sizeof latin1, ERL_NIF_LATIN1);
    if (size == 0) {
        return write_by_etf(env, w, atom, as_str);
    }
    size_t n = (size_t)size - 1;
    if (is_ascii(latin1, n)) {
        write_text(w, latin1, n, as_str);
        return true;
    }
    uint8_t utf8[2 * MOST_CHARS];
    write_text(w, utf8, latin1_to_utf8(latin1, n, utf8), as_str);
    return true;
}

ERL_NIF_TERM pc_term_atom_text(ErlNifEnv *env, ERL_NIF_TERM atom) {
    uint8_t bytes[3 + MOST_BYTES];
    struct pc_writer w;
    struct pc_reader r;
    struct pc_token t = {.type = PC_NIL};
    ERL_NIF_TERM text;
    pc_writer_init(&w, bytes, sizeof bytes, sizeof bytes, NULL, NULL);
    if (!pc_term_write_atom(env, &w, atom, true)) {
        return 0;
    }
    pc_reader_init(&r, bytes, w.len);
    return pc_reader_next(&r, &t) == PC_OK && pc_term_make_binary(env, t.data, t.len, &text) ? text : 0;
}

static bool find_by_etf(ErlNifEnv *env, const uint8_t *text, uint32_t n, ERL_NIF_TERM *term) {
    uint8_t etf[4 + MOST_BYTES] = {ETF_VERSION, ETF_ATOM_UTF8, (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(etf + 4, text, n);
    return enif_binary_to_term(env, etf, 4 + (size_t)n, term, ERL_NIF_BIN2TERM_SAFE) != 0;
}

bool pc_term_find_atom(ErlNifEnv *env, const uint8_t *text, uint32_t n, ERL_NIF_TERM *term) {
    uint8_t latin1[MOST_CHARS];
    size_t chars;
    if (utf8_to_latin1(text, n, latin1, &chars)) {
        return enif_make_existing_atom_len(env, (const char *)latin1, chars, term, ERL_NIF_LATIN1) != 0;
    }
    return n <= MOST_BYTES && find_by_etf(env, text, n, term);
}
