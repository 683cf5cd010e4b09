#ifndef PC_WIRE_LANES_H
#define PC_WIRE_LANES_H

/* What dispatch.c, ends.c, inner.c, lane.c, owners.c, stream.c, take_over.c and tenant.c share. All of it under the dispatcher's lock. */

#include "wire/dispatch.h"

/* Somebody who is known, or NULL; and the calls that are his. */
struct pc_owner *pc_owner_find(struct pc_dispatch *d, uint64_t key);
void pc_owner_add(struct pc_owner *owner, struct pc_call *call);
void pc_owner_remove(struct pc_call *call);
/* Of somebody's calls the first that `is_it` agrees to; where that is NULL, any. NULL: there is none. */
struct pc_call *pc_owner_find_call(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *context);

/* A lane that is open takes any calls, or only targeted ones. */
void pc_lane_list(struct pc_lane *lane);
void pc_lane_unlist(struct pc_lane *lane);

/* It has its channel, and is open if it may be. */
void pc_lane_hold(struct pc_lane *lane);
/* Takes no more calls, for now or for good. */
void pc_lane_shut(struct pc_lane *lane);
void pc_lane_close_door(struct pc_lane *lane);

/* Whether any call waits that the lane could take. */
bool pc_lane_is_needed(const struct pc_lane *lane);

/* The first that waits, if it is one for the lane's slot; or NULL. */
struct pc_call *pc_lane_first_for_slot(const struct pc_lane *lane);

/* A call that waits is in no list any more: PC_CALL_OVER, and `next` is NULL. */
void pc_call_take_unsent(struct pc_dispatch *d, struct pc_call *call);

/* A call that is in no list, and has its id there, is out. */
void pc_lane_add(struct pc_lane *lane, struct pc_call *call, int64_t now);
/* And is not any more. */
void pc_lane_remove(struct pc_lane *lane, struct pc_call *call);

/* A call that waits and may run inside of what the lane's worker waits for, if there is one, is sent there. */
void pc_lane_run_inner(struct pc_lane *lane, int64_t now);

/* Gives calls that wait to an open lane while it has room. */
void pc_lane_refill(struct pc_lane *lane, int64_t now);

/* One more thread at the descriptor of a lane that is not closed. */
void pc_lane_enter(struct pc_lane *lane, struct pc_lane_actor at);

/* A call that is out, and whose frame the worker has; or NULL. */
struct pc_call *pc_lane_find_sent(const struct pc_lane *lane, uint64_t id);

/* Memory to be freed when all has been sent; false when out of memory. */
bool pc_load_out_keep(struct pc_load_out *out, void *memory);
/* The last one that was kept, after all not. */
void pc_load_out_forget(struct pc_load_out *out, const void *memory);

#endif
