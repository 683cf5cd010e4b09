#ifndef PC_PYTHON_CROWD_H
#define PC_PYTHON_CROWD_H

/*
 * A worker that runs many calls at once (docs/protocol.md section 4). The main thread takes frames from the call channel, in order, as long as
 * fewer than `most` calls run. Calls of `async def` tools run on an event loop on that same thread (crowd_loop.c), others in threads
 * that are started on demand (hands.c). Whoever ends a call sends its answer (outflow.h).
 *
 * Everything here is the GIL's: who holds it may read and change it, and steps that belong together do not let go of it.
 */

#include <semaphore.h>
#include <stdbool.h>

#include "bell.h"
#include "core.h"
#include "outflow.h"
#include "serving.h"
#include "turn.h"

/* One call, from its frame to its answer. */
struct pc_call {
    struct pc_request q; /* the first member, so that one is the other */
    struct pc_crowd *crowd;
    struct pc_call *prev, *next; /* among those that run, the oldest first */
    struct pc_call *next_ready;  /* in the queue for the hands, or for the loop */
    int64_t start;
    unsigned interrupts;            /* that came before there was anybody to raise them in, or in its thread */
    unsigned functions;             /* of the VM that it waits for */
    unsigned long thread;           /* that runs it; 0: none */
    bool session_over;              /* its session has ended while it ran */
    bool halted;                    /* the VM wants no chunks of it, and said so while it was no stream yet */
    PyObject *coroutine;            /* owned: for the loop to take */
    PyObject *driver;               /* owned: the loop has it */
    struct pc_crowd_stream *stream; /* owned: its chunks, once the tool has returned an iterator */
};

struct pc_call_queue {
    struct pc_call *first, *last;
};

struct pc_hand;

struct pc_crowd {
    struct pc_server s; /* the first member, so that one is the other; its responder is the main thread's */
    unsigned refs;      /* the main thread, each hand, each call that runs, and what the loop calls */
    struct pc_outflow flow;
    PyObject *context; /* of which each call in a thread has a copy */

    unsigned most, running;
    unsigned waiting;   /* of those that run: for a function of the VM */
    unsigned listeners; /* who do that */
    unsigned streams;   /* of those that run: what the VM says of them is read even where no more calls are */
    struct pc_call *oldest, *latest;
    struct pc_call *spare; /* for the next frame */
    bool paused;           /* nothing more was read, because `most` calls ran */

    struct pc_call_queue ready; /* for hands */
    struct pc_hand *idle;
    unsigned hands;

    struct pc_call_queue handed; /* coroutines for the loop */
    PyObject *loop;              /* once a coroutine has come */
    PyObject *on_input, *on_room, *on_bell;
    bool reads, writes;  /* what the loop is asked to tell */
    bool resuming;       /* on_input is about to be called */
    struct pc_bell bell; /* how others wake the main thread */
    bool rung;

    bool closed;       /* nothing is served any more: calls that run on are not answered */
    enum pc_next next; /* what the main thread does next; other than PC_GO_ON it stays so */
    PyObject *failure; /* owned: the exception that belongs to PC_RAISED */
};

/* Serves until the end, like pc_serve's loop. Afterwards nothing is left but threads whose tools have not ended. */
struct pc_crowd *pc_crowd_new(const struct pc_server *s, unsigned most);
enum pc_next pc_crowd_serve(struct pc_crowd *c);
void pc_crowd_close(struct pc_crowd *c);
void pc_crowd_release(struct pc_crowd *c);

/* crowd_attend.c, for attendant.h: raises pitcrew.Cancelled in the calls that turn.h names, and has the main thread do what vitals.h asks for. */
void pc_crowd_attend(void *crowd);

/* For vitals.h: wherever the main thread waits, Python goes on if the GIL can be had. */
bool pc_crowd_poke(void);

/* ---- Between the files of the crowd */

/* The call that runs with this id, or NULL. */
struct pc_call *pc_crowd_find(const struct pc_crowd *c, uint64_t id);

/* In a thread: waits without the GIL until the bell is rung. */
void pc_crowd_sleep(sem_t *bell);

/*
 * In a thread whose tool waits: whether an interrupt came while its code did not run, which would be raised when that does. It is an exception now,
 * and raised no more.
 */
bool pc_crowd_take_interrupt(void);

void pc_call_push(struct pc_call_queue *q, struct pc_call *call);
struct pc_call *pc_call_pop(struct pc_call_queue *q);

/* Takes what there is in the call channel, a bounded part at a time. On the main thread. */
void pc_crowd_read(struct pc_crowd *c);

/* Whether something is to be read, be it only for streams. */
static inline bool pc_crowd_reads(const struct pc_crowd *c) { return !c->paused || c->streams > 0 || c->listeners > 0; }

/* Whether as many calls run as may, those that wait not counted; or, with them, as many as turn.h has room for. */
static inline bool pc_crowd_is_full(const struct pc_crowd *c) {
    return c->running - c->waiting >= c->most || c->running >= PC_TURN_MOST;
}

/* A call has returned a value, whose reference is stolen, or NULL and an exception. It is answered, and no more. */
void pc_crowd_end_call(struct pc_call *call, struct pc_responder *to, PyObject *result);

/* Ends the process, with a traceback, if a tool has forked it: there are neither the sockets nor whoever may hold a lock. */
void pc_crowd_leave_fork(void);

/* The worker ends: with the exception that is set, where next is PC_RAISED. The first who says so is heard. */
void pc_crowd_end(struct pc_crowd *c, enum pc_next next);

/* The main thread looks at once whether there is something to do. */
void pc_crowd_ring(struct pc_crowd *c);

/* crowd_loop.c: the call's coroutine becomes a task. On the main thread. */
void pc_crowd_start_coroutine(struct pc_call *call);
/* What the loop is asked to tell fits what there is to do. On the main thread. */
void pc_crowd_settle(struct pc_crowd *c);
void pc_crowd_leave_loop(struct pc_crowd *c);
/* Waits for something to do and does it; again and again with the loop, once without. */
void pc_crowd_turn(struct pc_crowd *c);

/* hands.c: the call runs in a thread. */
void pc_hands_give(struct pc_crowd *c, struct pc_call *call);
/* Those who have nothing to do end. */
void pc_hands_dismiss(struct pc_crowd *c);

#endif
