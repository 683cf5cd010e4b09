/* The text of an atom. The NIF API of OTP 25 knows Latin-1 only, so an atom beyond it takes the external term format. */

#include <string.h>

#include "json_private.h"

enum {
    MOST_CHARS = 255,
    ETF_ATOM_UTF8 = 118,       /* u16 length */
    ETF_SMALL_ATOM_UTF8 = 119, /* u8 length */
};

static size_t text_by_etf(ErlNifEnv *env, ERL_NIF_TERM atom, char *text) {
    ErlNifBinary etf;
    if (!enif_term_to_binary(env, atom, &etf)) {
        return SIZE_MAX;
    }
    size_t header = 0;
    if (etf.size > 3 && etf.data[1] == ETF_SMALL_ATOM_UTF8) {
        header = 3;
    } else if (etf.size > 4 && etf.data[1] == ETF_ATOM_UTF8) {
        header = 4;
    }
    size_t n = SIZE_MAX;
    if (header > 0 && etf.size - header <= PC_JSON_ATOM_BYTES) {
        n = etf.size - header;
        memcpy(text, etf.data + header, n);
    }
    enif_release_binary(&etf);
    return n;
}

size_t pc_json_atom_text(ErlNifEnv *env, ERL_NIF_TERM atom, char text[PC_JSON_ATOM_BYTES], bool *far) {
    char latin1[MOST_CHARS + 1];
    int size = enif_get_atom(env, atom, latin1, sizeof latin1, ERL_NIF_LATIN1);
    *far = size == 0;
    if (*far) {
        return text_by_etf(env, atom, text);
    }
    size_t n = 0;
    for (int i = 0; i < size - 1; i++) {
        unsigned char c = (unsigned char)latin1[i];
        if (c < 0x80) {
            text[n++] = (char)c;
        } else {
            text[n++] = (char)(0xc0 | c >> 6);
            text[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return n;
}
