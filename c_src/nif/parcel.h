#ifndef PC_NIF_PARCEL_H
#define PC_NIF_PARCEL_H

/*
 * The payloads of one answer that have come in segments: taken when the frame has, and there until it has been decoded, however often
 * and wherever that is begun; then each is a binary over shared memory of its own, or a copy of it where the pool has lent too much.
 * A parcel that nobody opens lets go of all.
 */

#include <erl_nif.h>
#include <stdbool.h>

#include "nif/buffers.h"
#include "wire/segment_footer.h"

struct pc_parcel;

/* Opens the resource types; 0 or -1. */
int pc_parcel_load(ErlNifEnv *env, ErlNifResourceFlags flags);

/* The handle is the caller's to release. `copy`: nothing is held beyond the decoding. NULL when out of memory. */
struct pc_parcel *pc_parcel_new(struct pc_buffers *buffers, const struct pc_segment_footer *footer,
                                const ErlNifPid *receiver, bool copy);
void pc_parcel_release(struct pc_parcel *parcel);

/* What a frame names that nobody will decode. `buffers` may be NULL: then no name is that of anything. */
void pc_parcel_refuse(struct pc_buffers *buffers, const struct pc_segment_footer *footer);

ERL_NIF_TERM pc_parcel_term(ErlNifEnv *env, struct pc_parcel *parcel);
bool pc_parcel_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_parcel **parcel);

/* One payload of it. NULL: it is not in there, or was not what it should be. */
struct pc_parcel_item;
struct pc_parcel_item *pc_parcel_find(struct pc_parcel *parcel, const struct pc_segment_name *name);
const uint8_t *pc_parcel_bytes(const struct pc_parcel_item *item, size_t *n);
/* Whether pc_parcel_binary copies. */
bool pc_parcel_copies(const struct pc_parcel_item *item);
/* False when out of memory. */
bool pc_parcel_binary(ErlNifEnv *env, struct pc_parcel_item *item, ERL_NIF_TERM *term);

/* All has been decoded: what was copied is let go of. */
void pc_parcel_end(struct pc_parcel *parcel);

#endif
