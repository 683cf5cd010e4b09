#ifndef PC_WIRE_DISPATCH_H
#define PC_WIRE_DISPATCH_H

/*
 * Calls for which no slot was claimed (docs/protocol.md, section 3): which one is in which worker, and which ones wait. A *lane* is the way
 * to one worker: it holds at most `depth` calls, and its worker starts them in the order in which they were sent, `width` of them at once. Calls that find no
 * room stand in one queue, first come first served, with their frames ready, and go out as room comes free. A lane has its channel all the
 * time, where workers are pipelined, or is lent it while calls wait.
 *
 * A call may be *targeted* at a lane. Then it waits in that lane's own queue, and of both queues a lane takes whoever came first: a targeted
 * call neither overtakes nor is overtaken, it only cannot go elsewhere. A *tenant* (tenant.h) is what such calls have in common; one that is
 * exclusive *reserves* its lane, which then takes no calls but targeted ones.
 *
 * Knows neither Erlang nor Python. Every function may be called from any thread. One lock for each dispatcher, held for some
 * instructions and for copying small frames, and never while sending or calling back, but for `keep` and for `look` of stream.h.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/io.h"

enum pc_call_state {
    PC_CALL_QUEUED, /* waits for room */
    PC_CALL_OUT,    /* its frame is in a worker, or on the way */
    PC_CALL_LEFT,   /* the same, but nobody waits for the answer any more */
    PC_CALL_STUCK,  /* the same, and it has not ended although it was told to: its lane is about to be given up */
    PC_CALL_OVER,   /* in no list; belongs to whoever took it off */
};

/* What stands in a call's frame behind its id. */
struct pc_body {
    uint8_t *data;
    size_t n;
    bool owned; /* malloc's, and given away where it is said so; otherwise only borrowed */
    /*
     * Bytes in shared memory of the target's that names at the end of it speak of (segment_footer.h); or 0. While the call has not gone out they are
     * for whoever has the body to let go of.
     */
    size_t apart;
};

/* Somebody who makes calls. Embedded in something larger; known to the dispatcher, by any number, from the first call on. */
struct pc_owner {
    uint64_t key;
    struct pc_call *calls; /* those that are QUEUED or OUT */
    struct pc_owner *next;
};

/* A call that one which a function has made stands inside of (inner.h). */
struct pc_outer {
    struct pc_lane *lane; /* outlives the call */
    uint64_t function;    /* the number of what it waits for, where its worker can run something meanwhile; or 0 */
};

/* One call. Embedded in something larger; everything in it is the dispatcher's until it is PC_CALL_OVER. */
struct pc_call {
    /* Set before it is submitted. */
    bool json;
    bool finish;                  /* it goes on when its owner dies */
    bool stream;                  /* chunks come before its answer (stream.h) */
    bool slot;                    /* has no body: what it waits for is a slot that is free, see pc_lane_take_for_slot */
    bool urgent;                  /* goes out at once: what its worker does now may wait for it */
    bool deaf;                    /* its owner wants no more messages before its end */
    unsigned messages;            /* that its owner was sent before its end: with chunks, or what its worker calls */
    int64_t credit;               /* that its worker has left for chunks; may be below zero */
    struct pc_lane *target;       /* the only lane that may have it, or NULL; outlives the call */
    const struct pc_outer *outer; /* the calls around it in this pool, the innermost first; outlives the call */
    unsigned outer_count;
    struct pc_tenant *
        tenant; /* whose it is, or NULL; outlives the call. Without a target it is to reserve the lane that it goes to */
    enum pc_call_state state;
    uint64_t id;     /* on its lane */
    uint64_t inside; /* the number of the function that its worker runs it inside of; 0: of none */
    size_t bytes;    /* of its frame, once it is out, with those that lie apart */
    int64_t sent;    /* when it went out or, before that, into a queue; monotonic ns */
    uint64_t begin;  /* of its frame, in all that the lane has made ready; once it is out */
    uint64_t end;
    struct pc_lane *lane;
    struct pc_body body;         /* while it waits */
    struct pc_call *prev, *next; /* in the queue, or in its lane by id */
    struct pc_owner *owner;
    struct pc_call *owner_prev, *owner_next;
};

/* What is done with the channel that a lane belongs to. Given with each step, as those of machine.h are. */
struct pc_lane_ops {
    void (*keep)(void *channel);
    void (*release)(void *channel);
    /* The channel is not the lane's any more, nor will it be: nobody is at the descriptor. Once. */
    void (*close)(void *channel, void *env);
};

struct pc_lane_actor {
    const struct pc_lane_ops *ops;
    void *env;
};

/* Frames to be sent, and memory that parts of them lie in. */
struct pc_load_out {
    struct pc_outbox box;
    void **owned;
    size_t owned_count;
    size_t owned_cap;
};

struct pc_queue {
    struct pc_call *first, *last;
    _Atomic size_t n; /* written under the lock */
};

/* A function that a call waits for, in a worker that can run something meanwhile (inner.h). */
struct pc_wait {
    uint64_t function;
    uint64_t call;
    bool taken; /* it does */
};

enum { PC_MOST_WAITS = 64 }; /* of a worker, each inside of the one before */

struct pc_lane {
    struct pc_dispatch *dispatch;
    void *channel;
    int fd;
    unsigned index; /* of the worker, for whoever asks */
    size_t max_frame;

    /* Under the dispatcher's lock. */
    bool held;      /* the channel is the lane's */
    bool open;      /* takes calls */
    bool listed;    /* and those that are not targeted, too */
    bool closed;    /* the descriptor goes back as soon as nobody is at it */
    bool flushing;  /* somebody sends what `sending` holds */
    bool draining;  /* is over because its worker is to leave */
    bool telling;   /* somebody is to be told when its last call has ended */
    bool blocked;   /* the socket is full: whoever learns that it is not goes on */
    bool silent;    /* nothing more is sent */
    unsigned stuck; /* calls that are STUCK */
    unsigned users; /* threads at the descriptor */
    unsigned load;  /* calls that are out */
    unsigned inner; /* of those, the ones that run inside of others */
    unsigned waits_count;
    unsigned ready; /* of those whose frames nobody sends yet */
    uint64_t last_id;
    uint64_t made;      /* bytes of frames, in all */
    int64_t since;      /* when the first of them became the first; monotonic ns */
    uint64_t calls;     /* in all */
    uint64_t bytes_out; /* of them */
    struct pc_call *first, *last;
    struct pc_lane *prev, *next; /* among lanes of the same load */
    struct pc_load_out pending;
    struct pc_wait waits[PC_MOST_WAITS]; /* the innermost last */
    struct pc_queue own;                 /* calls that are targeted at it, and wait */
    _Atomic unsigned tenants;            /* that are not exclusive; this and the following are written under the lock */
    _Atomic bool reserved;               /* by one that is */
    _Atomic bool retiring;               /* it stays for those who can go nowhere else */
    _Atomic bool over;                   /* it will take no calls any more */
    _Atomic bool noted;                  /* frames that are no calls wait for the channel */

    struct pc_load_out sending; /* belongs to whoever set `flushing` */
};

enum { PC_OWNER_BUCKETS = 1024, PC_MOST_OWNERS = 8192 };

struct pc_dispatch {
    pthread_mutex_t lock;
    unsigned depth;
    unsigned width;
    bool over;
    bool balancing;
    unsigned lanes;
    unsigned loaded; /* lanes that hold more calls than run at once */
    unsigned least;  /* no open lane has a smaller load */
    size_t out;      /* calls in lanes */
    size_t most_queued;
    bool oldest_first;      /* of lanes with as little to do, that which has had so for longest; otherwise the latest */
    _Atomic unsigned watch; /* enum watch; becomes WATCH_SEEN under the lock */
    struct pc_queue any;    /* calls that wait for any lane */
    size_t targeted;        /* calls that wait in lanes' own queues */
    size_t inner;           /* calls that wait, and stand inside of others */
    struct pc_queue reserving; /* calls that wait for a lane to reserve */
    atomic_bool unsettled;     /* none wait so any more, but others do; written under the lock */
    struct pc_lane **by_load;  /* depth + 1 lists of open lanes, and behind them their last ones */
    struct pc_owner *owners[PC_OWNER_BUCKETS];
    unsigned owners_count;
    unsigned hand; /* the bucket in which to look for somebody to forget */
};

/* `width` is at most `depth`. False when out of memory. */
bool pc_dispatch_init(struct pc_dispatch *d, unsigned depth, unsigned width, bool oldest_first);
/* No lane is left, and nobody waits. */
void pc_dispatch_destroy(struct pc_dispatch *d);

/*
 * The channel that would have the next call of those for any lane, kept; or NULL where it would have to wait: so that what is large can be made for the
 * very channel that it will be sent to.
 */
void *pc_dispatch_next(struct pc_dispatch *d, struct pc_lane_actor at);

/* At most so many calls wait. */
void pc_dispatch_limit(struct pc_dispatch *d, size_t most_queued);

/*
 * Somebody wants to know when a call finds no worker that could run it at once: pc_dispatch_wants says true once, and pc_dispatch_watch begins
 * anew.
 */
void pc_dispatch_watch(struct pc_dispatch *d);
bool pc_dispatch_wants(struct pc_dispatch *d);

enum pc_submitted {
    PC_SUBMIT_OUT,   /* *lane has it, pinned: pc_lane_flush and pc_lane_unpin come next */
    PC_SUBMIT_READY, /* a lane has it, whose worker has enough to do until whoever reads its answers flushes it */
    PC_SUBMIT_QUEUED,
    PC_SUBMIT_STRANGER, /* the owner is not known: pc_dispatch_meet comes first */
    PC_SUBMIT_FULL,     /* so many wait already that no other may */
    PC_SUBMIT_HELD,     /* the target's worker waits for this call, and can do nothing else meanwhile */
    PC_SUBMIT_GONE,     /* the target's worker will take no more calls, or the tenant has ended */
    PC_SUBMIT_OVER,     /* there will be no more workers */
    PC_SUBMIT_NO_MEMORY,
};

/* A new call of an owner; takes a body that is `owned` unless it fails. Where it fails nothing has happened. */
enum pc_submitted pc_dispatch_submit(struct pc_dispatch *d, uint64_t owner, struct pc_call *call, struct pc_body *body,
                                     int64_t now, struct pc_lane_actor at, struct pc_lane **lane);

/*
 * Makes an owner known, who stays so until pc_dispatch_part, or until there are too many and it has no calls: such a one is returned, and is
 * the caller's again. Otherwise NULL.
 */
struct pc_owner *pc_dispatch_meet(struct pc_dispatch *d, struct pc_owner *owner);

/* Forgets an owner, who must have no calls any more; NULL when it is not known (any more). */
struct pc_owner *pc_dispatch_part(struct pc_dispatch *d, uint64_t owner);

/* The same with anybody, in the end. */
struct pc_owner *pc_dispatch_part_any(struct pc_dispatch *d);

/* Whether it is the call that is looked for. */
typedef bool (*pc_call_test)(const struct pc_call *call, const void *context);

/*
 * Nobody waits for a call any more, of those of `owner` the first that `is_it` agrees to; or, where that is NULL, any: the owner is dead, and
 * *goes_on says whether the call is to `finish`. A lane of depth 1 takes no more calls then, unless it goes on, or runs inside of another: its worker will be
 * replaced.
 */
enum pc_leaving {
    PC_LEAVE_NONE,   /* it has ended, or is about to be told so */
    PC_LEAVE_QUEUED, /* it was taken off: *call is the caller's */
    PC_LEAVE_INNER,  /* the same as the next, of a call inside of another one */
    PC_LEAVE_OUT, /* it is in *lane, pinned, under *id; or, with `only_queued`, it goes on as before and nothing is pinned */
};
enum pc_leaving pc_dispatch_leave(struct pc_dispatch *d, uint64_t owner, pc_call_test is_it, const void *context,
                                  bool only_queued, struct pc_lane_actor at, struct pc_call **call,
                                  struct pc_lane **lane, uint64_t *id, bool *goes_on);

/* Of the calls of `owner` that have not ended `look` sees the first that `is_it` agrees to, under the dispatcher's lock; false if there is none. */
bool pc_dispatch_look(struct pc_dispatch *d, uint64_t owner, pc_call_test is_it, const void *which,
                      void (*look)(struct pc_call *call, void *context), void *context);

/* No calls are taken from now on. Those that wait, linked by `next`, are the caller's, except for those in lanes' own queues: see pc_lane_take_own. */
struct pc_call *pc_dispatch_end(struct pc_dispatch *d);

struct pc_dispatch_counts {
    unsigned lanes;       /* that take calls */
    unsigned idle;        /* of those */
    size_t out;           /* calls in lanes */
    size_t queued;        /* all that wait */
    int64_t first_queued; /* when the first of those for any lane was, in monotonic ns; or 0 */
};
void pc_dispatch_count(struct pc_dispatch *d, struct pc_dispatch_counts *n);

/* Whether there is a queue. Without the lock: whoever makes room and then asks cannot miss a call that was queued before. */
static inline bool pc_dispatch_waits(struct pc_dispatch *d) { return d->any.n > 0; }

/* Whether it takes only calls that are targeted at it. Its channel stays its own then. */
static inline bool pc_lane_is_reserved(const struct pc_lane *lane) { return lane->reserved || lane->retiring; }

/* The same with a lane that has not got its channel: whether it is needed for something that concerns no other lane. */
static inline bool pc_lane_wants(const struct pc_lane *lane) {
    return !lane->over && (lane->own.n > 0 || lane->noted || pc_lane_is_reserved(lane));
}

/* And with calls that wait for a lane to reserve. */
static inline bool pc_dispatch_reserves(struct pc_dispatch *d) { return d->reserving.n > 0; }

/*
 * Lanes are kept clear for calls that wait to reserve one. When the last of those goes out, or leaves, others may go to them again: whoever did
 * that asks this once, without the lock, and if so pc_dispatch_settle until that is NULL. It sends one of them out, on a lane that is pinned then: flush
 * and unpin it.
 */
static inline bool pc_dispatch_is_unsettled(struct pc_dispatch *d) { return d->unsettled; }
struct pc_lane *pc_dispatch_settle(struct pc_dispatch *d, int64_t now, struct pc_lane_actor at);
static inline bool pc_lane_is_vacant(const struct pc_lane *lane) {
    return !lane->over && lane->tenants == 0 && !pc_lane_is_reserved(lane);
}

/* A way to a worker, over a socket that stays the channel's. */
void pc_lane_init(struct pc_lane *lane, struct pc_dispatch *d, void *channel, int fd, unsigned index, size_t max_frame);
/*
 * The channel is the lane's, whose ids go on after `last_id`; calls that wait go out. Pinned then: flush and unpin it. False: it is closed, the
 * dispatcher is over, or, with `if_needed`, nothing waits that this lane could take.
 */
bool pc_lane_open(struct pc_lane *lane, uint64_t last_id, bool if_needed, int64_t now, struct pc_lane_actor at);
/*
 * A call that its owner has sent on the channel itself, as its last one and under the id `id`, with a frame of `call->bytes` bytes, is the lane's from now on, and so
 * is the channel, also where the lane takes no more calls. PC_SUBMIT_OUT: pinned, as above. PC_SUBMIT_STRANGER as for pc_dispatch_submit. PC_SUBMIT_GONE: its worker is
 * at its end. Where it fails nothing has happened.
 */
enum pc_submitted pc_lane_take_over(struct pc_lane *lane, uint64_t owner, struct pc_call *call, uint64_t id,
                                    int64_t now, struct pc_lane_actor at);
/* Whether pc_lane_open with `if_needed` would, at this moment, or pc_lane_take_for_slot has one. */
bool pc_lane_would_open(struct pc_lane *lane);
/*
 * The channel, a slot, is free: if the first call that it could serve is one that waits for a slot, that is over and the caller's, who gives the slot to
 * its owner; otherwise NULL.
 */
struct pc_call *pc_lane_take_for_slot(struct pc_lane *lane);
/* The channel is not the lane's any more, if it has nothing to do and is not reserved: *last_id is the last one used. The pin of the caller's goes with it. */
bool pc_lane_return(struct pc_lane *lane, struct pc_lane_actor at, uint64_t *last_id);
/* Closed, empty, and nobody is at it. */
void pc_lane_destroy(struct pc_lane *lane);

/* At the descriptor: false when it is closed, or not the lane's. Every success is followed by one pc_lane_unpin. */
bool pc_lane_pin(struct pc_lane *lane, struct pc_lane_actor at);
void pc_lane_unpin(struct pc_lane *lane, struct pc_lane_actor at);

/*
 * Sends what is ready, unless somebody is at it already; pinned, and still so afterwards. PC_IO_AGAIN: when the socket can be written, call
 * it again with `unblock`. PC_IO_EOF: nothing more will be sent.
 */
enum pc_io pc_lane_flush(struct pc_lane *lane, bool unblock);

/*
 * The call `id` in that format is out no more: it is the caller's, and calls that wait take its room; *left says whether nobody waits
 * for it. NULL: there is none; *known says whether there was one. One whose frame is not out yet is not known. PC_ANY_FORMAT is for calls
 * that the worker has dropped, sent or not.
 */
enum pc_format { PC_MESSAGEPACK, PC_JSON, PC_ANY_FORMAT };
struct pc_call *pc_lane_take(struct pc_lane *lane, uint64_t id, enum pc_format format, int64_t now, bool *left,
                             bool *known);

struct pc_lane_counts {
    unsigned load;    /* calls that are out */
    unsigned started; /* of those, with ids up to `last_started`, which is set before */
    uint64_t last_started;
    uint64_t first; /* the id of the first of them; or 0 */
    uint64_t calls; /* in all */
    uint64_t bytes_out;
};
/* Adds to what is there. */
void pc_lane_count(struct pc_lane *lane, struct pc_lane_counts *n);

/* Calls that wait go out where there is room; pinned then: flush and unpin it. False when the channel is not the lane's. */
bool pc_lane_nudge(struct pc_lane *lane, int64_t now, struct pc_lane_actor at);

/* Whole frames that are no calls, to be flushed or, where the channel is not the lane's, to be sent when it is. False when out of memory, or, with `only_idle`, when calls are out; then the lane has stopped, too. */
bool pc_lane_append(struct pc_lane *lane, const uint8_t *frames, size_t n, bool only_idle);

/*
 * A frame that is no call, of a lane that is pinned: `head`, and behind it the body, whose memory is taken if that is owned, and only where the
 * result is PC_OK. PC_TOO_BIG for the worker, or PC_NO_MEMORY: nothing was changed.
 */
enum pc_status pc_lane_send(struct pc_lane *lane, const uint8_t *head, size_t n, const struct pc_body *body);

/* Of a call that is out, whose frame the worker has and whose caller waits, `look` sees it under the dispatcher's lock; false if there is none. */
bool pc_lane_look(struct pc_lane *lane, uint64_t id, void (*look)(struct pc_call *call, void *context), void *context);

/* Whether its reader will be told when something is to be done: calls are out, or it is reserved, or the socket is full, or the lane is about to be closed. */
bool pc_lane_awaits(struct pc_lane *lane);

/*
 * Takes no more calls, now or later. Its channel is the lane's, with or without calls that are out, or it is not. After PC_LANE_BUSY
 * pc_lane_is_drained says true once, when asked after the last of the calls.
 */
enum pc_lane_state { PC_LANE_IDLE, PC_LANE_BUSY, PC_LANE_AWAY };
enum pc_lane_state pc_lane_drain(struct pc_lane *lane);
bool pc_lane_is_draining(struct pc_lane *lane);
bool pc_lane_is_drained(struct pc_lane *lane);

/*
 * From now on it takes only calls that are targeted at it, and no more tenants. Of the others that it has, all but the first would better be
 * elsewhere: their ids, how many they are.
 */
size_t pc_lane_retire(struct pc_lane *lane, uint64_t *ids, size_t most);

/* Takes no more calls, now or later, and refuses those that are targeted at it. */
void pc_lane_stop(struct pc_lane *lane);

/* The same if the call `id` is out and none is in front of it; whether it is. Then ending the worker ends no call that comes later. */
bool pc_lane_stop_at(struct pc_lane *lane, uint64_t id);

/*
 * Nothing more is sent. Returns the last of the calls whose frames, or the beginnings of them, were sent: its id, or 0. What somebody is
 * sending counts as sent.
 */
uint64_t pc_lane_silence(struct pc_lane *lane);

/*
 * The call `id`, for which nobody waits, does not end: the lane drains, as after pc_lane_drain, and for pc_lane_is_drained it counts as
 * ended. False if it is not out, or somebody waits for it. *others: how many are out besides such calls, now.
 */
bool pc_lane_give_up(struct pc_lane *lane, uint64_t id, unsigned *others);

/* The ids of calls that are out, above `id`, at most `most`, the smallest first; how many. */
size_t pc_lane_list_after(struct pc_lane *lane, uint64_t id, uint64_t *ids, size_t most);

/* Every call with a greater id, linked by `next`, is the caller's. */
struct pc_call *pc_lane_take_after(struct pc_lane *lane, uint64_t id);

/* Those that are targeted at it and wait, linked by `next`, are the caller's. */
struct pc_call *pc_lane_take_own(struct pc_lane *lane);

/* No more I/O. False if that was said before. */
bool pc_lane_close(struct pc_lane *lane, struct pc_lane_actor at);

/*
 * Whether calls wait behind those that run in a lane while another lane has nothing to do: true at most once until pc_dispatch_uneven has said that
 * it is not so.
 */
bool pc_dispatch_is_uneven(struct pc_dispatch *d);

/* Calls that would better be elsewhere: for each, the lane's index and the call's id. */
struct pc_misplaced {
    unsigned index;
    uint64_t id;
};

/*
 * Those that wait behind others the first of which has run since before `since`, as many as idle lanes can take and `most` allows. False: nothing is uneven any more.
 */
bool pc_dispatch_uneven(struct pc_dispatch *d, int64_t since, struct pc_misplaced *list, size_t most, size_t *n);

#endif
