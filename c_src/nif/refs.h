#ifndef PC_NIF_REFS_H
#define PC_NIF_REFS_H

/*
 * Objects that stay in a worker, as the VM holds them: docs/protocol.md, section 1, References. An answer with references has a *lease*,
 * which stands for all of them until the answer has been decoded, and each reference has a handle from then on. When the VM collects one
 * of them, the worker is to let go of what it stands for. Destructors only note that, in memory that was taken before, and tell the
 * worker's process once for all that is noted until it looks.
 */

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/writer.h"

struct pc_channel;
struct pc_lease;
struct pc_ref;

/* What a worker is to let go of: one reference, or with PC_ALL_REFS all of an answer's. */
#define PC_ALL_REFS UINT32_MAX
struct pc_release {
    struct pc_release *next;
    uint64_t call;
    uint32_t index;
};

/* Opens the resource types; 0 or -1. */
int pc_refs_load(ErlNifEnv *env, ErlNifResourceFlags flags);

/*
 * The references in the answer to a call. The handle is the caller's to release, and if that is the end of it, the worker lets go of them.
 * NULL when out of memory; then they stay as long as their worker.
 */
struct pc_lease *pc_lease_new(struct pc_channel *channel, uint64_t call);
void pc_lease_release(struct pc_lease *lease);
ERL_NIF_TERM pc_lease_term(ErlNifEnv *env, struct pc_lease *lease);
bool pc_lease_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_lease **lease);

/* Nobody will get the answer to that call, which has references or not. */
void pc_channel_drop_refs(struct pc_channel *channel, bool has_refs, uint64_t call);

/* The answer has been decoded: each reference is on its own. */
void pc_lease_end(struct pc_lease *lease);
/* It will be decoded again, with another lease: the references of this one mean nothing. */
void pc_lease_abandon(struct pc_lease *lease);

/* A reference from the payload of its extension, as a Pitcrew.Ref. False: it is not well formed, or no memory is left. */
bool pc_ref_read(ErlNifEnv *env, struct pc_lease *lease, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term);

bool pc_ref_get(ErlNifEnv *env, ERL_NIF_TERM handle, struct pc_ref **ref);
struct pc_channel *pc_ref_channel(const struct pc_ref *ref);
void pc_ref_write(struct pc_writer *w, const struct pc_ref *ref);

/* The channel's worker is to let go of what was collected: takes all of it, for the caller to free. */
struct pc_release *pc_released_take(struct pc_channel *channel);
void pc_released_free(struct pc_release *list);

#endif
