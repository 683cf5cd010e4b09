#ifndef PC_WIRE_INNER_H
#define PC_WIRE_INNER_H

/*
 * Calls inside of others (docs/protocol.md, section 3, Calls that functions make). A call that waits for a function of the VM's holds its worker. What that function calls
 * may need a worker, too, and where none is free it is sent to one that such a call around it holds: its worker runs it at once, on top of the call that
 * waits, and goes on waiting.
 *
 * A lane knows which functions its worker waits for in that way, each inside of the one before. Only inside of the last one a call may begin, one at a
 * time, and only one that this very function has made, by whatever way: so no call waits for one that has nothing to do with it but for its place. Where one
 * call runs at a time in each worker and none waits there.
 */

#include "wire/dispatch.h"

/*
 * The call `id`, which is out, waits for a function that has this number, not 0, and its worker can run something meanwhile: whether anything will be sent
 * there. Until pc_lane_waited, or the end of the call.
 */
bool pc_lane_waits(struct pc_lane *lane, uint64_t id, uint64_t function);

/* It is about to be answered. What waits may go out then: the lane is to be flushed. */
void pc_lane_waited(struct pc_lane *lane, uint64_t function, int64_t now);

/* ---- For dispatch.c, under the lock */

/* The function inside of which a call may be sent to the lane now, or 0. */
uint64_t pc_inner_room(const struct pc_lane *lane);

/* The lane that may have it so, or NULL. */
struct pc_lane *pc_inner_lane(const struct pc_call *call);

/* Whether its target waits for it and can run nothing meanwhile. */
bool pc_inner_is_held(const struct pc_dispatch *d, const struct pc_call *call);

/* Of calls that wait, the first that may be sent to the lane so; or NULL. */
struct pc_call *pc_inner_next(const struct pc_lane *lane);

/* The call is out, and is not any more. */
void pc_inner_begin(struct pc_lane *lane, const struct pc_call *call);
void pc_inner_end(struct pc_lane *lane, const struct pc_call *call);

#endif
