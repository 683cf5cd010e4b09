#ifndef PC_WIRE_LANES_H
#define PC_WIRE_LANES_H

/* What dispatch.c and lane.c share. All of it under the dispatcher's lock. */

#include "wire/dispatch.h"

/* Into and out of the list of lanes that take calls. */
void pc_lane_list(struct pc_lane *lane);
void pc_lane_unlist(struct pc_lane *lane);

/* Takes no more calls. */
void pc_lane_close_door(struct pc_lane *lane);

/* Gives calls that wait to an open lane while it has room. */
void pc_lane_refill(struct pc_lane *lane, int64_t now);

/* One more thread at the descriptor of a lane that is not closed. */
void pc_lane_enter(struct pc_lane *lane, struct pc_lane_actor at);

/* Memory to be freed when all has been sent; false when out of memory. */
bool pc_load_out_keep(struct pc_load_out *out, void *memory);
/* The last one that was kept, after all not. */
void pc_load_out_forget(struct pc_load_out *out, const void *memory);

#endif
