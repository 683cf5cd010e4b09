/* See stream.h. Nothing here sends: a chunk is handed on, and credit given, by whoever asks. */
#include "wire/stream.h"

#include "wire/lanes.h"

static enum pc_chunk state_of(const struct pc_call *call) {
    if (call == NULL || !call->stream) {
        return PC_CHUNK_WRONG;
    }
    return call->state == PC_CALL_OUT && !call->deaf ? PC_CHUNK_WANTED : PC_CHUNK_LEFT;
}

enum pc_chunk pc_lane_chunk(struct pc_lane *lane, uint64_t id, void (*look)(const struct pc_call *call, void *context),
                            void *context) {
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    const struct pc_call *call = pc_lane_find_sent(lane, id);
    enum pc_chunk state = state_of(call);
    if (state == PC_CHUNK_WANTED) {
        look(call, context);
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return state;
}

enum pc_chunk pc_lane_charge(struct pc_lane *lane, uint64_t id, int64_t cost, int64_t last) {
    (void)pthread_mutex_lock(&lane->dispatch->lock);
    struct pc_call *call = pc_lane_find_sent(lane, id);
    enum pc_chunk state = state_of(call);
    if (state == PC_CHUNK_WANTED) {
        state = call->credit > cost - last ? PC_CHUNK_WANTED : PC_CHUNK_WRONG;
        call->credit -= cost;
        call->messages += state == PC_CHUNK_WANTED;
    }
    (void)pthread_mutex_unlock(&lane->dispatch->lock);
    return state;
}

unsigned pc_dispatch_deafen(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *context) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_call *call = pc_owner_find_call(d, key, is_it, context);
    unsigned messages = call == NULL ? 0 : call->messages;
    if (call != NULL) {
        call->deaf = true;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return messages;
}

struct pc_lane *pc_dispatch_find_stream(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *context,
                                        int64_t credit, const struct pc_lane_actor *at, uint64_t *id) {
    struct pc_lane *lane = NULL;
    (void)pthread_mutex_lock(&d->lock);
    struct pc_call *call = pc_owner_find_call(d, key, is_it, context);
    if (call != NULL && call->stream && call->state == PC_CALL_OUT && !call->lane->closed) {
        call->credit += credit;
        lane = call->lane;
        *id = call->id;
        pc_lane_enter(lane, *at);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return lane;
}
