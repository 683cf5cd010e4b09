#ifndef PC_WIRE_MACHINE_H
#define PC_WIRE_MACHINE_H

/*
 * The call channel's state machine (docs/protocol.md, section 3): one atomic word of phase and flags.
 * Knows neither Erlang nor sockets; what is due is done through a table of functions, so that threads
 * can race it without a VM. Every function may be called from any thread within the rights the page gives.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum pc_phase {
    PC_CONTROL = 1 << 0,
    PC_FREE = 1 << 1,
    PC_CLAIMED = 1 << 2,
    PC_WRITING = 1 << 3,
    PC_WAITING = 1 << 4,
    PC_READING = 1 << 5,
    PC_PIPELINED = 1 << 6, /* a lane of dispatch.h, which is inside all the time */
};
enum {
    PC_PHASES = (1 << 7) - 1,
    PC_OUTSTANDING = PC_WRITING | PC_WAITING | PC_READING,
};

enum pc_flag {
    PC_INSIDE = 1 << 7,
    PC_BROKEN = 1 << 8,
    PC_GONE = 1 << 9,
    PC_VERDICT = 1 << 10,
    PC_LEFT = 1 << 11,
    PC_CLOSED = 1 << 12,
    PC_FINISH = 1 << 13,
};

/* What the worker's process is told. */
enum pc_why { PC_CUT, PC_LOST, PC_ADOPT };

struct pc_machine_ops {
    /* `env` is the actor's, passed through. The slot is free again (the word says so already): hand it to whoever is next. */
    void (*hand_on)(void *channel, void *env);
    /*
     * The channel will serve no more calls, though its worker may still run: at most once with each of these reasons.
     * Or, with PC_ADOPT, the owner has died and its call is to go on: then pc_machine_adopt.
     */
    void (*tell_worker)(void *channel, void *env, enum pc_why why);
    /* The owner of an outstanding call gets the verdict, and its select is taken back: the descriptor is still open. At most once. */
    void (*tell_owner)(void *channel, void *env);
    /* Give the descriptor back. Once; nobody is inside. */
    void (*close)(void *channel, void *env);
};

/*
 * Who acts: the table, and what the acting thread needs in it (a NIF's env). Given with each step rather than kept,
 * since a machine can outlive the library that made it (a NIF that is upgraded).
 */
struct pc_actor {
    const struct pc_machine_ops *ops;
    void *env;
};

struct pc_machine {
    _Atomic uint32_t word;
    void *channel; /* first argument of the ops */
};

/* Starts in PC_CONTROL. */
void pc_machine_init(struct pc_machine *m, void *channel);

static inline uint32_t pc_machine_word(const struct pc_machine *m) {
    return atomic_load_explicit(&m->word, memory_order_acquire);
}

/*
 * Goes inside if the phase is one of `phases` and nothing is wrong. Returns the phase, or 0: the channel is
 * poisoned, closed, in another phase, or somebody is inside. Every success is followed by one pc_machine_leave.
 */
uint32_t pc_machine_enter(struct pc_machine *m, uint32_t phases);

/* Inside: another phase, and still inside. */
void pc_machine_become(struct pc_machine *m, enum pc_phase phase);

/*
 * Comes out with a new phase; `lost` sets PC_BROKEN and tells the worker's process. Does what fell due meanwhile: an
 * owner that went, a verdict, a close. Coming out in PC_FREE hands the slot on. An outstanding phase may come with
 * PC_FINISH: if the owner dies now, the call goes on. Then the frame is whole, sent or queued, and no thread is on its
 * way in for this owner.
 */
void pc_machine_leave(struct pc_machine *m, struct pc_actor at, uint32_t phase, bool lost);

/*
 * Goes inside for the worker's process, which was told PC_ADOPT, to make it the owner. Returns the phase, or 0 when
 * something came in between. Every success is followed by one pc_machine_leave.
 */
uint32_t pc_machine_adopt(struct pc_machine *m);

/* The owner's end of a claim. */
enum pc_end {
    PC_END_OK,       /* the slot was handed on */
    PC_END_POISONED, /* it will not be used again; the owner is told nothing more */
    PC_END_VERDICT,  /* it will not be used again; the owner was sent, or is being sent, the verdict */
};

/*
 * The owner leaves: a clean claim frees the slot, an outstanding call is cut. `withdraw` runs first: there the owner
 * takes back its monitor, and its select if that is still its own (`open`): after a verdict, tell_owner takes it back.
 */
enum pc_end pc_machine_end(struct pc_machine *m, struct pc_actor at,
                           void (*withdraw)(void *channel, void *env, bool open));

/* The owner died. */
void pc_machine_owner_gone(struct pc_machine *m, struct pc_actor at);

/* Whether a verdict was passed already. */
static inline bool pc_machine_judged(const struct pc_machine *m) { return (pc_machine_word(m) & PC_VERDICT) != 0; }

/* The worker is dead or condemned; the reason lies ready for tell_owner. Only the first counts. */
void pc_machine_verdict(struct pc_machine *m, struct pc_actor at);

/* No more I/O: the descriptor goes back now, or when whoever is inside comes out. Idempotent. */
void pc_machine_close(struct pc_machine *m, struct pc_actor at);

#endif
