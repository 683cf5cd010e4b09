#ifndef PC_WIRE_STREAM_H
#define PC_WIRE_STREAM_H

/*
 * Streams (docs/protocol.md, section 3): calls of which chunks arrive before their answer, as many as the worker has credit for. Both ends
 * count with pc_chunk_cost: a worker may send a chunk as long as its credit is above zero, and each takes what it costs. So a
 * consumer has at most as many chunks ahead of itself as it gave credit for, and fewer if they are large.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/dispatch.h"

enum { PC_CHUNK_SHARE = 64 * 1024 }; /* bytes for which a chunk costs one more */

enum { PC_MOST_CREDIT = 1 << 30 };

/* Of a chunk's frame, without the length in front, and what it has in segments. */
static inline int64_t pc_chunk_cost(size_t bytes) { return 1 + (int64_t)(bytes / PC_CHUNK_SHARE); }

enum pc_chunk {
    PC_CHUNK_WANTED,
    PC_CHUNK_LEFT,  /* nobody waits for it any more */
    PC_CHUNK_WRONG, /* there is no such stream, or it has no credit */
};

/* A chunk of the call `id` has come. Where it is wanted, `look` sees the call, under the dispatcher's lock. */
enum pc_chunk pc_lane_chunk(struct pc_lane *lane, uint64_t id, void (*look)(const struct pc_call *call, void *context),
                            void *context);

/* Chunks that cost so much in all, and the last of them so much, are handed on in one message if they are wanted. */
enum pc_chunk pc_lane_charge(struct pc_lane *lane, uint64_t id, int64_t cost, int64_t last);

/*
 * Of the first call of `owner` that `is_it` agrees to no more chunks are wanted. How many messages there have been with some: one that is
 * on its way cannot be stopped, but whoever counts them knows that it will come.
 */
unsigned pc_dispatch_deafen(struct pc_dispatch *d, uint64_t owner, pc_call_test is_it, const void *context);

/*
 * Whoever consumes a stream has something to say to its worker: its lane, pinned, and the id; and so much more credit.
 * NULL: it is not out, having ended, or waiting still.
 */
struct pc_lane *pc_dispatch_find_stream(struct pc_dispatch *d, uint64_t owner, pc_call_test is_it, const void *context,
                                        int64_t credit, const struct pc_lane_actor *at, uint64_t *id);

#endif
