/*
 * Who makes calls, by a number: a hash table of chains in the dispatcher, and in each owner the list of its calls. There is a limit to how many are
 * known at a time; past it one without calls is forgotten.
 */
#include "wire/dispatch.h"
#include "wire/lanes.h"

static struct pc_owner **bucket_of(struct pc_dispatch *d, uint64_t key) {
    enum { BITS = 10 }; /* of PC_OWNER_BUCKETS */
    /* Multiplied so that every bit of the number counts. */
    return &d->owners[(key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - BITS)];
}

struct pc_owner *pc_owner_find(struct pc_dispatch *d, uint64_t key) {
    struct pc_owner *owner = *bucket_of(d, key);
    while (owner != NULL && owner->key != key) {
        owner = owner->next;
    }
    return owner;
}

static void forget(struct pc_dispatch *d, struct pc_owner *owner) {
    struct pc_owner **place = bucket_of(d, owner->key);
    while (*place != owner) {
        place = &(*place)->next;
    }
    *place = owner->next;
    d->owners_count--;
}

/* Somebody without calls, from the next bucket in turn. */
static struct pc_owner *forget_one(struct pc_dispatch *d) {
    struct pc_owner *owner = d->owners[d->hand];
    d->hand = (d->hand + 1) % PC_OWNER_BUCKETS;
    while (owner != NULL && owner->calls != NULL) {
        owner = owner->next;
    }
    if (owner != NULL) {
        forget(d, owner);
    }
    return owner;
}

struct pc_owner *pc_dispatch_meet(struct pc_dispatch *d, struct pc_owner *owner) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_owner *forgotten = d->owners_count >= PC_MOST_OWNERS ? forget_one(d) : NULL;
    struct pc_owner **bucket = bucket_of(d, owner->key);
    owner->calls = NULL;
    owner->next = *bucket;
    *bucket = owner;
    d->owners_count++;
    (void)pthread_mutex_unlock(&d->lock);
    return forgotten;
}

struct pc_owner *pc_dispatch_part(struct pc_dispatch *d, uint64_t key) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_owner *owner = pc_owner_find(d, key);
    if (owner != NULL) {
        forget(d, owner);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return owner;
}

struct pc_owner *pc_dispatch_part_any(struct pc_dispatch *d) {
    struct pc_owner *owner = NULL;
    (void)pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < PC_OWNER_BUCKETS && owner == NULL && d->owners_count > 0; i++) {
        owner = forget_one(d);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return owner;
}

void pc_owner_add(struct pc_owner *owner, struct pc_call *call) {
    call->owner = owner;
    call->owner_prev = NULL;
    call->owner_next = owner->calls;
    if (owner->calls != NULL) {
        owner->calls->owner_prev = call;
    }
    owner->calls = call;
}

void pc_owner_remove(struct pc_call *call) {
    if (call->owner_prev != NULL) {
        call->owner_prev->owner_next = call->owner_next;
    } else if (call->owner != NULL) { /* always, but clang's analyser does not see that a call is taken off once */
        call->owner->calls = call->owner_next;
    }
    if (call->owner_next != NULL) {
        call->owner_next->owner_prev = call->owner_prev;
    }
    call->owner = NULL;
}

struct pc_call *pc_owner_find_call(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *context) {
    const struct pc_owner *owner = pc_owner_find(d, key);
    struct pc_call *call = owner == NULL ? NULL : owner->calls;
    while (call != NULL && is_it != NULL && !is_it(call, context)) {
        call = call->owner_next;
    }
    return call;
}

bool pc_dispatch_look(struct pc_dispatch *d, uint64_t key, pc_call_test is_it, const void *which,
                      void (*look)(struct pc_call *call, void *context), void *context) {
    (void)pthread_mutex_lock(&d->lock);
    struct pc_call *call = pc_owner_find_call(d, key, is_it, which);
    if (call != NULL) {
        look(call, context);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return call != NULL;
}
