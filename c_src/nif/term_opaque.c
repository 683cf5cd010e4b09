/*
 * Terms that mean nothing outside this VM: they travel in the external term format behind a tag that only this VM can make,
 * so that no bytes from elsewhere ever reach the VM's own decoder.
 */

#include <string.h>

#include "codec/ext.h"
#include "term_private.h"

bool pc_term_write_opaque(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term) {
    ErlNifBinary etf;
    uint8_t tag[PC_SIPHASH_TAG];
    if (!enif_term_to_binary(env, term, &etf)) {
        return false;
    }
    pc_siphash(pc_term_state()->key, etf.data, etf.size, tag);
    pc_write_ext_header(w, PC_EXT_OPAQUE, sizeof tag + etf.size);
    pc_writer_append(w, tag, sizeof tag);
    pc_writer_append(w, etf.data, etf.size);
    enif_release_binary(&etf);
    return true;
}

bool pc_term_read_opaque(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term) {
    uint8_t tag[PC_SIPHASH_TAG];
    if (n <= sizeof tag) {
        return false;
    }
    const uint8_t *etf = payload + sizeof tag;
    size_t size = n - sizeof tag;
    pc_siphash(pc_term_state()->key, etf, size, tag);
    return pc_siphash_same(tag, payload) && enif_binary_to_term(env, etf, size, term, ERL_NIF_BIN2TERM_SAFE) == size;
}
