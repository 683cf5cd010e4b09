#ifndef PC_NIF_TERM_KEY_H
#define PC_NIF_TERM_KEY_H

/*
 * One walk over a term for two questions of the cache: which 128 bits stand for it, and how much memory it takes to keep.
 *
 * Terms with the same key are the same to a tool. The order of a map's pairs and of a set's elements does not matter; 1 and 1.0, a text
 * and an atom, a binary and Pitcrew.bytes of it, 0.0 and -0.0 differ. Nothing in a key depends on this VM but the key of the
 * hash, so equal terms have equal keys on every node. Pids, references, ports, funs, bitstrings and improper lists have none.
 *
 * Any scheduler; takes no lock.
 */

#include "budget.h"
#include "codec/limits.h"
#include "codec/siphash.h"

/*
 * PC_WRONG_TYPE: it is, or holds, a term without a key. PC_TOO_DEEP: so is one that no call would carry. PC_BUDGET: start over elsewhere;
 * NULL is no bound.
 */
enum pc_status pc_term_key(ErlNifEnv *env, ERL_NIF_TERM term, const uint8_t key[PC_SIPHASH_KEY],
                           struct pc_budget *budget, uint8_t tag[PC_SIPHASH_TAG]);

/* About the bytes of a copy of the term, binaries counted as if nobody shared them. The same results. */
enum pc_status pc_term_weight(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_budget *budget, size_t *bytes);

#endif
