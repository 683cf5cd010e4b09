#ifndef PC_NIF_LANE_H
#define PC_NIF_LANE_H

/*
 * Calls of many callers in the VM: wire/dispatch.h bound to processes, messages and select. A pool has one dispatcher, and each channel of its
 * workers a lane. With pipelined workers the channel is the lane's until it is closed. Otherwise it is a slot, which callers claim, and
 * is lent to its lane while calls wait. Whoever waits for a call is sent exactly one message
 *
 *   {pitcrew_end, Ref, OsPid | nil, BytesOut, QueueNs, Answer}
 *
 * unless it has left before (leave/3 tells). To a call that has waited for a slot {slot, Channel} is the answer: that is claimed for it. Terms of an answer are made in an env of their own and move to the caller without a copy.
 */

#include <erl_nif.h>

#include "nif/channel.h"
#include "nif/term.h"
#include "wire/dispatch.h"

enum { PC_MOST_DEPTH = 1024 }; /* calls in a lane */

struct pc_dispatcher {
    struct pc_dispatch d;
    struct pc_slots *slots; /* whose channels are lent; or NULL where workers are pipelined */
    ERL_NIF_TERM name;      /* of the pool, an atom */
    ErlNifPid pool;
    ErlNifMonitor pool_monitor;
};

/* A call, and who waits for it. */
struct pc_job {
    struct pc_call call; /* the first member, so that one is the other */
    ErlNifPid owner;
    ErlNifEnv *env; /* of the reference, and then of the answer */
    ERL_NIF_TERM ref;
    struct pc_term_opts opts; /* for the answer */
    int64_t submitted;        /* monotonic ns */
    bool hosted;              /* what the worker calls in the VM comes to */
    ErlNifPid host;           /* that process; otherwise to the owner. Under the dispatcher's lock */
    struct pc_outer *outer;   /* the calls around it, whose channels it holds; or NULL */
    void *holds;              /* a resource that the call needs: its tenant, or what keeps its target; or NULL */
};

int pc_dispatcher_load(ErlNifEnv *env, ErlNifResourceFlags flags);
bool pc_dispatcher_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_dispatcher **dispatcher);
void pc_dispatcher_release(struct pc_dispatcher *dispatcher);
static inline struct pc_dispatcher *pc_dispatcher_of(const struct pc_lane *lane) {
    return (struct pc_dispatcher *)lane->dispatch;
}

struct pc_lane_actor pc_lane_actor(ErlNifEnv *env);

/* A call of the calling process; NULL when out of memory. */
struct pc_job *pc_job_new(ErlNifEnv *env, ERL_NIF_TERM ref, bool finish, const struct pc_term_opts *opts);
/* What `nested' of codec_opts() says: the calls around it. False when out of memory. */
bool pc_job_set_outer(ErlNifEnv *env, struct pc_job *job, struct pc_dispatcher *dispatcher, ERL_NIF_TERM nested);
/* The calls of a list, linked by `next`, end so; those that nobody waits for just end. `gone` is for those that only one worker can take. */
void pc_jobs_end(ErlNifEnv *env, struct pc_call *calls, ERL_NIF_TERM answer, ERL_NIF_TERM gone);
/* Of a call that is over: whoever waits for it is told, with a term of job->env, or nobody does any more. Frees it. */
void pc_job_end(ErlNifEnv *env, struct pc_job *job, ERL_NIF_TERM answer);
void pc_job_drop(struct pc_job *job);

/* A pc_call_test, of a job: `ref` points to a reference, which is the one that stands for it. */
bool pc_job_has_ref(const struct pc_call *call, const void *ref);

/* pc_dispatch_submit for the calling process, whose death is watched from its first call on. */
enum pc_submitted pc_dispatcher_submit(ErlNifEnv *env, struct pc_dispatcher *dispatcher, struct pc_job *job,
                                       struct pc_body *body, struct pc_lane **lane);

/* The same with pc_lane_take_over, for the channel's last call. */
enum pc_submitted pc_dispatcher_take_over(ErlNifEnv *env, struct pc_channel *channel, struct pc_job *job);

/* Nothing more will be read or sent: the lane takes no more calls, and the worker's process is told. */
void pc_lane_say_lost(ErlNifEnv *env, struct pc_channel *channel);
/* Whoever keeps the balance may want to know that this worker has nothing to do. */
void pc_lane_say_idle(ErlNifEnv *env, struct pc_channel *channel);
/* After calls of a lane have ended: its process may be waiting for the last one. */
void pc_lane_say_drained(ErlNifEnv *env, struct pc_channel *channel);

/*
 * Of a channel in phase free that is somebody's for the moment: it becomes its lane's if calls wait, or is claimed for one that waits for a slot;
 * otherwise it is free again.
 */
void pc_channel_lend(ErlNifEnv *env, struct pc_channel *channel);

/* Something waits that concerns this channel alone: it goes out if the channel is its lane's, or a free slot, which is then lent. */
void pc_channel_wake(ErlNifEnv *env, struct pc_channel *channel);

/* pc_lane_flush for a pinned lane of this channel, with what follows from its outcome, and pc_dispatcher_settle; unpins. */
void pc_channel_flush_lane(ErlNifEnv *env, struct pc_channel *channel, bool unblock);

/* Sends out what pc_dispatch_settle says. */
void pc_dispatcher_settle(ErlNifEnv *env, struct pc_dispatcher *dispatcher);

/*
 * The worker is dead, or will start nothing more: what it had started (where it does not say what that is: what was sent to it) ends with
 * `reason`, the others with `unstarted` or, where no other worker will do, {gone, Reason}.
 */
void pc_channel_end_lane(ErlNifEnv *env, struct pc_channel *channel, ERL_NIF_TERM reason);

/* No more I/O on a channel, whoever has it. Idempotent. */
void pc_channel_close(ErlNifEnv *env, struct pc_channel *channel);

#endif
