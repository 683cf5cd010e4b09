/*
 * Calls that outlive their callers (docs/protocol.md, section 3): finish is the caller's wish, adopt is what the
 * worker's process does when the machine has told it of such a death. From then on it is the owner, with everything an
 * owner may do.
 */
#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/nif.h"

ERL_NIF_TERM nif_finish(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    ErlNifPid self;
    if (!pc_channel_get(env, argv[0], &c) || !pc_channel_is_owner(env, c, &self)) {
        return enif_make_badarg(env);
    }
    if (pc_machine_enter(&c->machine, PC_CLAIMED) == 0) {
        return am_poisoned;
    }
    c->finish = true;
    pc_machine_leave(&c->machine, pc_channel_actor(env), PC_CLAIMED, false);
    return am_ok;
}

ERL_NIF_TERM nif_adopt(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c) || !enif_is_ref(env, argv[1])) {
        return enif_make_badarg(env);
    }
    if (!pc_channel_is_controller(env, c)) {
        return enif_make_tuple2(env, am_error, am_not_owner);
    }
    uint32_t phase = pc_machine_adopt(&c->machine);
    if (phase == 0) {
        return am_poisoned;
    }
    /* What was armed was the dead caller's; what cannot be taken back any more goes to nobody. */
    pc_channel_unselect(env, c);
    pc_channel_keep_ref(c, argv[1]);
    c->owner = c->controller; /* whose monitor is there for life */
    c->finish = false;
    c->adopted = true;
    pc_machine_leave(&c->machine, pc_channel_actor(env), phase, false);
    return am_ok;
}
