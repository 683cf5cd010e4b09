#ifndef PC_NIF_ACCOUNT_H
#define PC_NIF_ACCOUNT_H

/*
 * What terms of the VM hold of a pool's shared memory: each payload that came in a segment and is a binary now, for whom it was
 * received and since when. Past a limit payloads are copied into ordinary binaries instead, so that those who keep them do not
 * starve the pool. A lock inside, held for a few instructions.
 */

#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>

struct pc_account;

/* One payload; part of what counts it. */
struct pc_entry {
    struct pc_entry *next, *previous;
    size_t n;
    ErlNifPid receiver;
    ErlNifTime since; /* monotonic, ns */
};

/* Opens the resource type; 0 or -1. */
int pc_account_load(ErlNifEnv *env, ErlNifResourceFlags flags);

bool pc_account_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_account **account);
void pc_account_keep(struct pc_account *account);
void pc_account_release(struct pc_account *account);

/* The most bytes that may be held. */
size_t pc_account_most(const struct pc_account *account);

/* entry->n more bytes for entry->receiver. False, with nothing counted, past the limit. */
bool pc_account_enter(struct pc_account *account, struct pc_entry *entry);
void pc_account_leave(struct pc_account *account, struct pc_entry *entry);

#endif
