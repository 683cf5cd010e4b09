/*
 * The two ends of a call: a claim takes a slot, and checkin or abandon gives it up; and the verdict, which may come in between.
 * Each function is one stay inside the channel's machine (docs/protocol.md, section 3).
 */
#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/lane.h"
#include "nif/nif.h"

/* ---- claim ---- */

ERL_NIF_TERM nif_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_slots *slots;
    struct pc_channel *c;
    ErlNifPid self;
    if (!pc_slots_get(env, argv[0], &slots) || enif_self(env, &self) == NULL) {
        return enif_make_badarg(env);
    }
    while ((c = pc_slots_take(slots)) != NULL) {
        if (pc_machine_enter(&c->machine, PC_FREE) == 0) {
            enif_release_resource(c); /* condemned while it lay free; its process takes it off the table */
            continue;
        }
        c->owner = self;
        c->finish = c->adopted = false;
        /* The process is alive, since it runs this, and stays alive until it is through. */
        (void)enif_monitor_process(env, c, &self, &c->owner_monitor);
        ERL_NIF_TERM result = enif_make_tuple3(env, am_ok, enif_make_resource(env, c), enif_make_int64(env, c->os_pid));
        pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, false);
        enif_release_resource(c);
        return result;
    }
    return am_busy;
}

/* ---- the end of a claim ---- */

/* What `withdraw` leaves for `end`, on the same thread: afterwards the channel may be the next owner's. */
static _Thread_local unsigned withdrawn;

static void withdraw(void *channel, void *env, bool open) {
    struct pc_channel *c = channel;
    bool outstanding = (pc_machine_word(&c->machine) & PC_OUTSTANDING) != 0;
    if (open && outstanding) {
        pc_channel_unselect(env, c);
    }
    withdrawn = open || !outstanding ? c->owed : 0; /* otherwise the verdict's message says it */
    (void)enif_demonitor_process(env, c, &c->owner_monitor);
}

static ERL_NIF_TERM end(ErlNifEnv *env, ERL_NIF_TERM channel) {
    struct pc_channel *c;
    ErlNifPid self;
    if (!pc_channel_get(env, channel, &c) || !pc_channel_is_owner(env, c, &self)) {
        return enif_make_badarg(env);
    }
    ERL_NIF_TERM outcome = am_poisoned;
    withdrawn = 0;
    switch (pc_machine_end(&c->machine, pc_channel_actor(env), withdraw)) {
    case PC_END_OK:
        outcome = am_ok;
        break;
    case PC_END_VERDICT:
        outcome = am_verdict;
        break;
    case PC_END_POISONED:
        break;
    }
    return withdrawn == 0 ? outcome : enif_make_tuple3(env, am_owed, enif_make_uint(env, withdrawn), outcome);
}

ERL_NIF_TERM nif_checkin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, argv[0]);
}

ERL_NIF_TERM nif_abandon(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return end(env, argv[0]);
}

ERL_NIF_TERM nif_verdict(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c)) {
        return enif_make_badarg(env);
    }
    if (!pc_channel_is_controller(env, c)) {
        return enif_make_tuple2(env, am_error, am_not_owner);
    }
    if (c->lane != NULL) {
        pc_channel_end_lane(env, c, argv[1]);
    }
    if (!pc_machine_judged(&c->machine)) {
        c->verdict_env = enif_alloc_env();
        c->verdict = enif_make_copy(c->verdict_env, argv[1]);
        pc_machine_verdict(&c->machine, pc_channel_actor(env));
    }
    return am_ok;
}
