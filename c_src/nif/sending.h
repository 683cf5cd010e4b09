#ifndef PC_NIF_SENDING_H
#define PC_NIF_SENDING_H

/* What call and call_json share: the way of a call's frame into the socket, whatever the frame holds. */

#include "nif/budget.h"
#include "nif/channel.h"
#include "nif/term.h"

struct pc_sending {
    struct pc_channel *c;
    ErlNifPid self;
    ERL_NIF_TERM ref;
    ErlNifUInt64 max_frame;
    ErlNifSInt64 spin_ns; /* poll for the answer so long; on a normal scheduler, with nobody waiting for it */
    bool json;
    bool timed;   /* how long `write` took is told, too */
    size_t apart; /* bytes in shared memory that the frame names: set by `write` */
    /*
     * Appends the payload to c->out.w; the call's id is c->call_id + 1. Statuses and *err as those of pc_term_encode, and the writer's own:
     * where it is not PC_OK the frame names nothing in shared memory.
     */
    enum pc_status (*write)(ErlNifEnv *env, struct pc_sending *s, struct pc_budget *budget, struct pc_term_error *err);
};

/* Reads what every call has; false if it is not that, or the calling process has not claimed the channel. */
bool pc_sending_read(ErlNifEnv *env, ERL_NIF_TERM channel, ERL_NIF_TERM ref, ERL_NIF_TERM max_frame,
                     ERL_NIF_TERM spin_ns, struct pc_sending *s);

/*
 * Writes the frame, sends what the socket takes, and may poll for the answer; *answer is that of the native function.
 * With a budget, false when it ran out: then the native function goes on on a dirty scheduler, where it does the same
 * without one.
 */
bool pc_sending_run(ErlNifEnv *env, struct pc_sending *s, struct pc_budget *budget, ERL_NIF_TERM *answer);

#endif
