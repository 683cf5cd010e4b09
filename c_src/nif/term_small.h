#ifndef PC_NIF_TERM_SMALL_H
#define PC_NIF_TERM_SMALL_H

/*
 * Small integers without a call. The VM keeps them in the term's own word, the value above a tag of four bits; a call
 * for each costs more than all the rest of writing it. No memory is read here, and whether this VM does keep them so
 * is tried with the API at load: if one sample differs, no term ever looks small and the API is asked as always.
 */

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PC_SMALL_BITS = 4,
    PC_SMALL_MASK = (1 << PC_SMALL_BITS) - 1,
};

/* The tag, or a value that no tag of four bits has. Set at load, by the same value each time. */
extern unsigned pc_small_tag;

void pc_small_init(ErlNifEnv *env);

static inline bool pc_is_small(ERL_NIF_TERM term) { return ((unsigned)term & PC_SMALL_MASK) == pc_small_tag; }

static inline int64_t pc_small_value(ERL_NIF_TERM term) { return (int64_t)term >> PC_SMALL_BITS; }

/* Any integer as a term. */
static inline ERL_NIF_TERM pc_small_make(ErlNifEnv *env, int64_t value) {
    const int64_t end = INT64_C(1) << (63 - PC_SMALL_BITS);
    if (value >= -end && value < end && pc_small_tag <= PC_SMALL_MASK) {
        return (ERL_NIF_TERM)value << PC_SMALL_BITS | pc_small_tag;
    }
    return enif_make_int64(env, value);
}

#endif
