#ifndef PC_NIF_CHANNEL_H
#define PC_NIF_CHANNEL_H

/*
 * One connection to a worker: the state machine of wire/machine.h bound to a socket, to Erlang's select,
 * monitors and messages. Who may touch which field when is the machine's phase: whoever is inside
 * owns everything below `machine`, except where a comment says otherwise.
 */

#include <erl_nif.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/clock.h"
#include "wire/io.h"
#include "wire/machine.h"
#include "wire/spin.h"

struct pc_buffers;
struct pc_dispatch;
struct pc_release;
struct pc_lane;
struct pc_parcel;
struct pc_slots;
struct pc_started;

/* Bytes read from a socket in one stay on a normal scheduler. */
enum { PC_SHARE = 256 * 1024 };

/* Largest frames in PC_CONTROL, decoded where they are read: of a peer before it is known, and of a worker. */
enum { PC_STRANGER_FRAME = 4 * 1024, PC_CONTROL_FRAME = 4 * 1024 * 1024 };

struct pc_channel {
    struct pc_machine machine;
    int fd;

    /* The worker's process (at first the keeper). Changed only by itself, in PC_CONTROL. */
    ErlNifPid controller;
    ErlNifMonitor controller_monitor;

    /* The caller. Written while claiming, read until it has left. */
    ErlNifPid owner;
    ErlNifMonitor owner_monitor;

    /* Reference of the outstanding call, in an env of its own; stays as it is while the call is outstanding. */
    ErlNifEnv *ref_env;
    ERL_NIF_TERM ref;
    uint64_t call_id;
    bool json;      /* the outstanding call went out as JSON, and so is its answer */
    bool finish;    /* the owner's calls go on when it dies */
    bool adopted;   /* the owner is the controller, which only waits for the end of somebody else's call */
    unsigned armed; /* selects whose messages have not been accounted for: ERL_NIF_SELECT_READ | _WRITE */
    unsigned owed;  /* select messages that were sent, or are being sent, and that the owner has not answered yet */

    /* Written once by the controller before it passes the verdict. */
    ErlNifEnv *verdict_env;
    ERL_NIF_TERM verdict;

    struct pc_inbox in;
    struct pc_outbox out;
    ErlNifEnv *parts_env; /* keeps the binaries that are parts of the outbox; or NULL */
    size_t max_frame;
    unsigned strays; /* frames in a row that have ended no call */
    bool deaf;       /* its lane's worker has broken the protocol: what it sends is not read any more */

    /* Shared memory for large payloads, for life; or NULL. */
    struct pc_buffers *buffers;
    struct pc_parcel *parcel; /* of the frame at the head of the inbox, while its decoding goes on elsewhere; or NULL */

    struct pc_spin spin; /* of callers that would poll for the answer */
    int64_t codec_ns;    /* of a call that is `timed`: how long the codec has been at its present frame, in all stays */

    /* What a pipelined worker publishes, for life; or NULL. Its stream begins behind so many bytes. */
    const struct pc_started *started;
    uint64_t stream;
    /* What it is while it is lent, or the worker pipelined (lane.h), and the process that then reads it. Set once, kept for life. */
    struct pc_lane *lane;
    ErlNifPid reader;
    ErlNifSInt64 os_pid; /* of the worker, from then on */

    /* Set by install, kept for life. */
    struct pc_slots *slots;
    unsigned index;

    uint64_t calls; /* of claims; a lane counts its own */
    /* After how many calls, of both sorts, the controlling process is told that it is worn; 0 for never, or once it was. */
    _Atomic uint64_t worn_after;

    /* References that were collected and that its worker has not been told of yet: any thread adds, see refs.h. */
    struct pc_release *_Atomic released;
    atomic_size_t refs; /* that are held */
};

/* Opens the resource types of their file; 0 or -1. */
int pc_channel_load(ErlNifEnv *env, ErlNifResourceFlags flags);
int pc_slots_load(ErlNifEnv *env, ErlNifResourceFlags flags);
int pc_listener_load(ErlNifEnv *env, ErlNifResourceFlags flags);

/* Who acts on a channel's machine from this env. */
struct pc_actor pc_channel_actor(ErlNifEnv *env);

/*
 * A channel over a connected non-blocking socket, which it takes; the calling process controls it. 0 when that
 * process is gone or memory is out.
 */
ERL_NIF_TERM pc_channel_make(ErlNifEnv *env, int fd);

bool pc_channel_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_channel **channel);
bool pc_channel_is_controller(ErlNifEnv *env, const struct pc_channel *channel);

/* Whether the calling process, which goes into *self, has claimed the channel. */
bool pc_channel_is_owner(ErlNifEnv *env, const struct pc_channel *channel, ErlNifPid *self);

/* pc_outbox_part for a binary, which is kept until it is sent. False when out of memory. */
bool pc_channel_add_part(struct pc_channel *channel, size_t at, ERL_NIF_TERM binary);

/* pc_outbox_flush; whatever was kept for what is sent now is let go. */
enum pc_io pc_channel_flush(struct pc_channel *channel);

/* After a frame was undone: lets go of what was kept for its parts, if no other has any. */
void pc_channel_drop_parts(struct pc_channel *channel);

/* Moves to another controlling process; false when that one is not alive. */
bool pc_channel_set_controller(ErlNifEnv *env, struct pc_channel *channel, const ErlNifPid *pid);

/* Arms {select, Channel, Ref, ready_input | ready_output} for `pid`; false on failure. */
bool pc_channel_select(ErlNifEnv *env, struct pc_channel *channel, enum ErlNifSelectFlags mode, const ErlNifPid *pid,
                       ERL_NIF_TERM ref);

/*
 * Leaves the machine until the socket takes more of the outbox or has more for the inbox, of which {select, Channel,
 * Ref, _} tells `owner`. False when that cannot be had; the channel is lost then, and left all the same.
 */
bool pc_channel_await(ErlNifEnv *env, struct pc_channel *channel, const ErlNifPid *owner, ERL_NIF_TERM ref);

/*
 * Takes every select of a call back. The VM clears an event before it sends the message for it, so a select that cannot
 * be cancelled any more is one message that comes for certain: it is counted in `owed`.
 */
void pc_channel_unselect(ErlNifEnv *env, struct pc_channel *channel);

/* The owner answers one select message: afterwards nothing is armed, and `owed` is what else will come. */
void pc_channel_answered(ErlNifEnv *env, struct pc_channel *channel);

/* How to leave the machine with an outstanding call that is whole, but for going on on a dirty scheduler. */
static inline uint32_t pc_channel_waits(const struct pc_channel *channel, enum pc_phase phase) {
    return (uint32_t)phase | (channel->finish ? PC_FINISH : 0);
}

/* Around the codec's work on a frame, of which this is the first stay or another; what is begun is given to the end. */
static inline int64_t pc_channel_codec_begin(struct pc_channel *channel, bool timed, bool is_first) {
    if (timed && is_first) {
        channel->codec_ns = 0;
    }
    return timed ? pc_clock_ns() : 0;
}
static inline void pc_channel_codec_end(struct pc_channel *channel, int64_t begin) {
    if (begin != 0) {
        channel->codec_ns += pc_clock_ns() - begin;
    }
}

/* Keeps the reference that whatever is told to the owner of the call carries; no select is accounted for yet. */
void pc_channel_keep_ref(struct pc_channel *channel, ERL_NIF_TERM ref);

/* The controlling process is sent {pitcrew_channel, Channel, What}; What is a term of `message`, which it frees. */
void pc_channel_tell_controller(ErlNifEnv *env, struct pc_channel *channel, ErlNifEnv *message, ERL_NIF_TERM what);

/* Inside, or at the lane's descriptor, after calls were sent or answered: tells the controlling process {pitcrew_channel, Channel, worn} when it is due. */
void pc_channel_wear(ErlNifEnv *env, struct pc_channel *channel);

/* Slots, for the channel's machine: the channel's slot is free; it is lent to its lane if calls wait. */
void pc_slots_hand_on(ErlNifEnv *env, struct pc_slots *slots, unsigned index, struct pc_channel *channel);
/* Lends free slots to their lanes as long as calls wait. */
void pc_slots_lend(ErlNifEnv *env, struct pc_slots *slots, struct pc_dispatch *dispatch);
/* Lends this one if it is free. */
void pc_slots_lend_to(ErlNifEnv *env, struct pc_slots *slots, struct pc_channel *channel);
/* Takes a free slot off the table: a channel that the caller must release, or NULL. */
struct pc_channel *pc_slots_take(struct pc_slots *slots);
/* The one that would be taken next, kept; it stays free. Or NULL. */
struct pc_channel *pc_slots_peek(struct pc_slots *slots);
/* Whether a worker has shared memory. */
bool pc_slots_share(struct pc_slots *slots);
bool pc_slots_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_slots **slots);
void pc_slots_release(struct pc_slots *slots);

#endif
