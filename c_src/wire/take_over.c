/*
 * A call that was made on a claimed channel becomes its lane's in the middle, and the channel with it: nobody has told the dispatcher of that call before,
 * and from here on it is as if the lane had sent it.
 */
#include "wire/dispatch.h"
#include "wire/lanes.h"

/*
 * Under the lock. The frame counts among those that were sent, before all that waits: what ends the lane ends this call as one that had
 * begun.
 */
static void take_over(struct pc_lane *lane, struct pc_call *call, uint64_t id, int64_t now) {
    pc_lane_hold(lane);
    lane->telling = lane->draining; /* its process was told that the channel was somebody's */
    call->begin = lane->made - pc_outbox_pending(&lane->pending.box) - pc_outbox_pending(&lane->sending.box);
    call->end = call->begin + call->bytes;
    lane->made += call->bytes;
    call->id = id;
    pc_lane_add(lane, call, now);
}

enum pc_submitted pc_lane_take_over(struct pc_lane *lane, uint64_t key, struct pc_call *call, uint64_t id, int64_t now,
                                    struct pc_lane_actor at) {
    enum pc_submitted result = PC_SUBMIT_GONE;
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    struct pc_owner *owner = pc_owner_find(lane->dispatch, key);
    if (owner == NULL) {
        result = PC_SUBMIT_STRANGER;
    } else if (!lane->closed && !lane->silent) {
        take_over(lane, call, id, now);
        pc_owner_add(owner, call);
        pc_lane_enter(lane, at);
        result = PC_SUBMIT_OUT;
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return result;
}
