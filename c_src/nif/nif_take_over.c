/*
 * take_over/4: a caller that has read, in the middle of its call, that the worker calls the VM leaves the channel to its lane, and the call with it
 * (docs/protocol.md, section 3). From then on it waits as for a call that it has submitted. On a normal scheduler: its process does not end meanwhile.
 * set_host/3: the same of one that was submitted, whose lane tells somebody else from now on.
 */
#include "nif/atoms.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/send.h"
#include "nif/term.h"

/* Inside; nothing of the caller's is armed. */
static enum pc_submitted take_over(ErlNifEnv *env, struct pc_channel *c, ERL_NIF_TERM ref,
                                   const struct pc_term_opts *opts, ErlNifUInt64 bytes) {
    struct pc_job *job = pc_job_new(env, ref, c->finish, opts);
    if (job == NULL) {
        return PC_SUBMIT_NO_MEMORY;
    }
    job->call.json = c->json;
    job->call.bytes = bytes == 0 ? 1 : (size_t)bytes;
    enum pc_submitted how = pc_dispatcher_take_over(env, c, job);
    if (how != PC_SUBMIT_OUT) {
        pc_job_drop(job);
    }
    return how;
}

/* The lane's from here on: pinned, and whoever reads it is told. */
static void become_lent(ErlNifEnv *env, struct pc_channel *c) {
    (void)enif_demonitor_process(env, c, &c->owner_monitor);
    c->max_frame = c->lane->max_frame;
    pc_machine_become(&c->machine, PC_PIPELINED);
    ErlNifEnv *message = enif_alloc_env();
    pc_send(env, &c->reader, message, am_pitcrew_lent);
    pc_channel_flush_lane(env, c, false);
}

ERL_NIF_TERM nif_take_over(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    struct pc_term_opts opts;
    ErlNifUInt64 bytes;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_ref(env, argv[1]) || !pc_term_opts_read(env, argv[2], &opts) ||
        !enif_get_uint64(env, argv[3], &bytes) || c->lane == NULL || !pc_channel_is_owner(env, c, &self)) {
        return enif_make_badarg(env);
    }
    uint32_t phase = pc_machine_enter(&c->machine, PC_OUTSTANDING);
    if (phase == 0) {
        return am_lost;
    }
    unsigned owed = c->owed;
    switch (take_over(env, c, argv[1], &opts, bytes)) {
    case PC_SUBMIT_OUT:
        c->owed = 0;
        become_lent(env, c);
        return enif_make_tuple2(env, am_ok, enif_make_uint(env, owed));
    case PC_SUBMIT_GONE: /* the verdict is about to come */
        pc_machine_leave(&c->machine, pc_channel_actor(env), pc_channel_waits(c, PC_READING), false);
        return am_lost;
    default:
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_READING, true);
        return am_lost;
    }
}

/* ---- Calls that were handed on */

static void set_host(struct pc_call *call, void *context) {
    struct pc_job *job = (struct pc_job *)call;
    job->host = *(const ErlNifPid *)context;
    job->hosted = true;
}

/* Of a call of the calling process: what its worker calls comes to a host of its own from now on. */
ERL_NIF_TERM nif_set_host(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifPid self, host;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || !enif_is_ref(env, argv[1]) ||
        !enif_get_local_pid(env, argv[2], &host) || enif_self(env, &self) == NULL) {
        return enif_make_badarg(env);
    }
    return pc_dispatch_look(&dispatcher->d, self.pid, pc_job_has_ref, &argv[1], set_host, &host) ? am_ok : am_none;
}
