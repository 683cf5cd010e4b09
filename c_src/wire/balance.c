/* What is where (dispatch.h): how much there is of it, and calls that wait behind others while another worker has nothing to do. */
#include "wire/dispatch.h"

static unsigned idle_lanes(const struct pc_dispatch *d) {
    unsigned idle = 0;
    for (const struct pc_lane *lane = d->by_load[0]; lane != NULL; lane = lane->next) {
        idle++;
    }
    return idle;
}

void pc_dispatch_count(struct pc_dispatch *d, struct pc_dispatch_counts *n) {
    (void)pthread_mutex_lock(&d->lock);
    *n = (struct pc_dispatch_counts){.lanes = d->lanes,
                                     .idle = idle_lanes(d),
                                     .out = d->out,
                                     .queued = d->any.n + d->reserving.n + d->targeted,
                                     .first_queued = d->any.first == NULL ? 0 : d->any.first->sent};
    (void)pthread_mutex_unlock(&d->lock);
}

bool pc_dispatch_is_uneven(struct pc_dispatch *d) {
    (void)pthread_mutex_lock(&d->lock);
    bool first_to_see = !d->balancing && d->loaded > 0 && d->by_load[0] != NULL;
    d->balancing |= first_to_see;
    (void)pthread_mutex_unlock(&d->lock);
    return first_to_see;
}

bool pc_dispatch_uneven(struct pc_dispatch *d, int64_t since, struct pc_misplaced *list, size_t most, size_t *n) {
    *n = 0;
    (void)pthread_mutex_lock(&d->lock);
    size_t room = (size_t)idle_lanes(d) * d->depth;
    bool uneven = false;
    for (unsigned load = d->depth; room > 0 && d->loaded > 0 && load > d->width; load--) {
        for (const struct pc_lane *lane = d->by_load[load]; lane != NULL; lane = lane->next) {
            unsigned behind = load - d->width;
            for (const struct pc_call *call = lane->last; behind > 0; call = call->prev, behind--) {
                if (call->target != NULL || room == 0 || *n == most) {
                    continue;
                }
                uneven = true;
                if (lane->since <= since) {
                    list[(*n)++] = (struct pc_misplaced){.index = lane->index, .id = call->id};
                    room--;
                }
            }
        }
    }
    d->balancing = uneven;
    (void)pthread_mutex_unlock(&d->lock);
    return uneven;
}
