/*
 * The rules of the call channel. Each function is one compare-and-swap that decides, followed by the
 * duties that the swap made this thread's own. Nothing is done before it is decided, and nothing
 * is decided twice: that is the invariant that lets callbacks, dirty schedulers and owners race.
 */
#include "wire/machine.h"

#include <stddef.h>

enum { POISON = PC_BROKEN | PC_GONE | PC_VERDICT | PC_LEFT | PC_CLOSED };

void pc_machine_init(struct pc_machine *m, void *channel) {
    atomic_init(&m->word, PC_CONTROL);
    m->channel = channel;
}

static bool swap(struct pc_machine *m, uint32_t *seen, uint32_t next) {
    return atomic_compare_exchange_weak_explicit(&m->word, seen, next, memory_order_acq_rel, memory_order_acquire);
}

/* Sets flags whatever else happens; returns the word before. */
static uint32_t raise_flags(struct pc_machine *m, uint32_t flags) {
    return atomic_fetch_or_explicit(&m->word, flags, memory_order_acq_rel);
}

uint32_t pc_machine_enter(struct pc_machine *m, uint32_t phases) {
    uint32_t seen = pc_machine_word(m);
    do {
        if ((seen & (POISON | PC_INSIDE)) != 0 || (seen & phases) == 0) {
            return 0;
        }
    } while (!swap(m, &seen, seen | PC_INSIDE));
    return seen & PC_PHASES;
}

void pc_machine_become(struct pc_machine *m, enum pc_phase phase) {
    uint32_t seen = pc_machine_word(m);
    while (!swap(m, &seen, (seen & ~(uint32_t)PC_PHASES) | phase)) {}
}

/* A verdict reaches only an owner that waits: one whose call is outstanding and who has neither left nor died. */
static bool owner_waits(uint32_t word) { return (word & PC_OUTSTANDING) != 0 && (word & (PC_LEFT | PC_GONE)) == 0; }

uint32_t pc_machine_adopt(struct pc_machine *m) {
    uint32_t seen = pc_machine_word(m);
    do {
        if ((seen & (POISON | PC_INSIDE | PC_FINISH)) != (PC_GONE | PC_FINISH) || (seen & PC_OUTSTANDING) == 0) {
            return 0;
        }
    } while (!swap(m, &seen, (seen & ~(uint32_t)(PC_GONE | PC_FINISH)) | PC_INSIDE));
    return seen & PC_PHASES;
}

/* What becomes of the outstanding call of an owner that died. */
static enum pc_why why_gone(uint32_t word) {
    bool clean = (word & (PC_BROKEN | PC_VERDICT | PC_LEFT | PC_CLOSED)) == 0;
    return clean && (word & PC_FINISH) != 0 ? PC_ADOPT : PC_CUT;
}

void pc_machine_leave(struct pc_machine *m, struct pc_actor at, uint32_t phase, bool lost) {
    uint32_t seen = pc_machine_word(m);
    uint32_t next;
    bool told = false;
    do {
        next = (seen & ~(uint32_t)(PC_PHASES | PC_INSIDE | PC_FINISH)) | phase | (lost ? PC_BROKEN : 0);
        if ((next & PC_GONE) != 0 && phase == PC_CLAIMED && (next & (PC_VERDICT | PC_BROKEN | PC_CLOSED)) == 0) {
            next = PC_FREE; /* the owner died with a clean slot in its hand */
        }
        /* Still inside: telling takes the owner's select back, which a close from another thread must not come before. */
        if (!told && (next & PC_VERDICT) != 0 && owner_waits(next)) {
            at.ops->tell_owner(m->channel, at.env);
            told = true;
        }
    } while (!swap(m, &seen, next));

    if ((next & (PC_PHASES | POISON)) == PC_FREE) {
        at.ops->hand_on(m->channel, at.env);
    }
    if (lost) {
        at.ops->tell_worker(m->channel, at.env, PC_LOST);
    }
    if ((next & PC_GONE) != 0 && (next & PC_OUTSTANDING) != 0) {
        at.ops->tell_worker(m->channel, at.env, why_gone(next));
    }
    if ((next & PC_CLOSED) != 0) {
        at.ops->close(m->channel, at.env);
    }
}

enum pc_end pc_machine_end(struct pc_machine *m, struct pc_actor at, void (*withdraw)(void *, void *, bool)) {
    uint32_t entry = pc_machine_word(m);
    do {
        if ((entry & (PC_CLAIMED | PC_OUTSTANDING)) == 0 || (entry & (PC_LEFT | PC_INSIDE)) != 0) {
            return PC_END_POISONED; /* ended before, or never begun */
        }
    } while (!swap(m, &entry, entry | PC_INSIDE));

    /* Inside, so the descriptor stays open; and off the record before the slot can have another owner. */
    withdraw(m->channel, at.env, (entry & (PC_CLOSED | PC_VERDICT)) == 0);

    uint32_t seen = pc_machine_word(m);
    uint32_t next;
    do {
        bool clean = (seen & PC_CLAIMED) != 0 && (seen & POISON) == 0;
        uint32_t cut = (seen & PC_OUTSTANDING) != 0 ? PC_BROKEN : 0;
        next = clean ? PC_FREE : (seen & ~(uint32_t)PC_INSIDE) | PC_LEFT | cut;
    } while (!swap(m, &seen, next));

    if (next == PC_FREE) {
        at.ops->hand_on(m->channel, at.env);
        return PC_END_OK;
    }
    if ((next & PC_OUTSTANDING) != 0 && (entry & (PC_VERDICT | PC_BROKEN)) == 0) {
        at.ops->tell_worker(m->channel, at.env, PC_CUT);
    }
    if ((next & PC_CLOSED) != 0 && (entry & PC_CLOSED) == 0) {
        at.ops->close(m->channel, at.env);
    }
    /* A verdict that came while we were inside was sent to nobody: we have left. */
    return (entry & PC_VERDICT) != 0 && owner_waits(entry) ? PC_END_VERDICT : PC_END_POISONED;
}

void pc_machine_owner_gone(struct pc_machine *m, struct pc_actor at) {
    uint32_t seen = pc_machine_word(m);
    uint32_t next;
    do {
        /* Inside a free slot somebody is claiming for this owner: the one inside finds the flag on leaving. */
        if ((seen & (PC_CLAIMED | PC_OUTSTANDING | PC_INSIDE)) == 0 || (seen & (PC_LEFT | PC_GONE)) != 0) {
            return;
        }
        bool clean = (seen & PC_CLAIMED) != 0 && (seen & (POISON | PC_INSIDE)) == 0;
        next = clean ? PC_FREE : seen | PC_GONE;
    } while (!swap(m, &seen, next));

    if (next == PC_FREE) {
        at.ops->hand_on(m->channel, at.env);
    } else if ((seen & PC_INSIDE) == 0 && (seen & PC_OUTSTANDING) != 0) {
        at.ops->tell_worker(m->channel, at.env, why_gone(seen));
    }
}

void pc_machine_verdict(struct pc_machine *m, struct pc_actor at) {
    uint32_t before = raise_flags(m, PC_VERDICT);
    if ((before & (PC_VERDICT | PC_INSIDE)) == 0 && owner_waits(before)) {
        at.ops->tell_owner(m->channel, at.env);
    }
}

void pc_machine_close(struct pc_machine *m, struct pc_actor at) {
    uint32_t before = raise_flags(m, PC_CLOSED);
    if ((before & (PC_CLOSED | PC_INSIDE)) == 0) {
        at.ops->close(m->channel, at.env);
    }
}
