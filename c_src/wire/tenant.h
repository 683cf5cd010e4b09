#ifndef PC_WIRE_TENANT_H
#define PC_WIRE_TENANT_H

/*
 * What keeps to one lane: a session. Several tenants may share a lane, and its other calls go on; or one has the lane for itself, which is
 * then *reserved*. A lane that has tenants is never reserved, and one that is gets no others.
 *
 * A tenant gets a lane of its own with its first call: one that has the tenant and no target, waits in a queue for such calls, and goes out
 * to a lane that has nothing to do and no tenants. So it obeys what any call obeys that waits.
 */

#include "wire/dispatch.h"

/* Embedded in something larger, which outlives its calls. Everything but `id' and `keep' is under the dispatcher's lock. */
struct pc_tenant {
    uint64_t id; /* for the worker */
    void (*keep)(void *channel);
    struct pc_dispatch *dispatch;
    struct pc_lane *lane; /* whose channel it keeps, from the moment it has it; or NULL */
    bool exclusive;
    bool ended;
    size_t calls; /* that wait or are out, whether or not anybody waits for their answers */
};

void pc_tenant_init(struct pc_tenant *t, struct pc_dispatch *d, uint64_t id, bool exclusive,
                    void (*keep)(void *channel));

/* Shares a lane; false if that is reserved, or will take no more calls. Once. */
bool pc_tenant_share(struct pc_tenant *t, struct pc_lane *lane);

/* The lane, or NULL. */
struct pc_lane *pc_tenant_lane(struct pc_tenant *t);

/* Whether any of its calls waits or is out. */
bool pc_tenant_is_busy(struct pc_tenant *t);

/*
 * Its calls are refused from now on. Those that wait, linked by `next`, are the caller's; those that are out end as they would. Its lane may
 * be free for others: nudge it, or lend it its channel. Again is harmless.
 */
struct pc_call *pc_tenant_end(struct pc_tenant *t);

/* For dispatch.c, under the lock: its first call goes out to a lane. */
void pc_tenant_reserve(struct pc_tenant *t, struct pc_lane *lane);

#endif
