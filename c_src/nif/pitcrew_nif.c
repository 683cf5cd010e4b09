/*
 * The NIF library's table and its load, upgrade and unload callbacks. No function of the API is here.
 *
 * A file that has a resource type opens it in a function `int pc_<noun>_load(ErlNifEnv *, ErlNifResourceFlags)`, called from
 * types_load below with ERL_NIF_RT_CREATE at load and with ERL_NIF_RT_TAKEOVER as well at upgrade, so that
 * handles made by older code go on living with the destructors of newer code.
 */

#include <string.h>

#include "account.h"
#include "atoms.h"
#include "channel.h"
#include "frame_memory.h"
#include "lane.h"
#include "nif.h"
#include "parcel.h"
#include "refs.h"
#include "stay.h"
#include "tenancy.h"
#include "term.h"
#include "term_small.h"

enum {
    NORMAL = 0, /* a normal scheduler: bounded work, no lock that a dirty thread holds, no blocking call */
};

/* Functions whose work grows with what they are given are measured, if somebody wants to know how long they stay. */
#define WATCHED(function)                                                                                              \
    static ERL_NIF_TERM watched_##function(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {                      \
        int64_t begin = pc_stay_begin(env);                                                                            \
        ERL_NIF_TERM result = function(env, argc, argv);                                                               \
        pc_stay_end(env, begin);                                                                                       \
        return result;                                                                                                 \
    }

WATCHED(nif_encode)
WATCHED(nif_decode)
WATCHED(nif_encode_iov)
WATCHED(nif_decode_all)
WATCHED(nif_term_key)
WATCHED(nif_term_weight)
WATCHED(nif_call)
WATCHED(nif_call_json)
WATCHED(nif_reply)
WATCHED(nif_submit)
WATCHED(nif_submit_json)
WATCHED(nif_lane_deliver)

static ErlNifFunc functions[] = {
    /* Work within a budget, and go on on a dirty CPU scheduler beyond it. */
    {"encode", 2, watched_nif_encode, NORMAL},
    {"decode", 2, watched_nif_decode, NORMAL},
    /* The same as encode/2 and decode/2, with large binaries left where they are, and value after value. */
    {"encode_iov", 2, watched_nif_encode_iov, NORMAL},
    {"decode_all", 2, watched_nif_decode_all, NORMAL},
    /* A walk over a term within a budget; beyond it they start over on a dirty CPU scheduler. */
    {"term_key", 3, watched_nif_term_key, NORMAL},
    {"term_weight", 1, watched_nif_term_weight, NORMAL},
    /* A few system calls that do not block. */
    {"listen", 1, nif_listen, NORMAL},
    {"accept", 2, nif_accept, NORMAL},
    {"close_listener", 1, nif_close_listener, NORMAL},
    /* Handshake and side-channel frames: small, and what the socket does not take is kept. */
    {"channel_give", 2, nif_channel_give, NORMAL},
    {"channel_hello", 4, nif_channel_hello, NORMAL},
    {"channel_tend", 1, nif_channel_tend, NORMAL},
    {"channel_send", 2, nif_channel_send, NORMAL},
    {"channel_recv", 2, nif_channel_recv, NORMAL},
    {"channel_flush", 2, nif_channel_flush, NORMAL},
    {"channel_close", 1, nif_channel_close, NORMAL},
    {"channel_info", 1, nif_channel_info, NORMAL},
    /* A few instructions under the table's lock. Never on a dirty scheduler, which could be preempted holding it. */
    {"slots_new", 3, nif_slots_new, NORMAL},
    {"slots_install", 3, nif_slots_install, NORMAL},
    {"slots_remove", 2, nif_slots_remove, NORMAL},
    {"drain", 1, nif_drain, NORMAL},
    {"slots_info", 1, nif_slots_info, NORMAL},
    {"claim", 1, nif_claim, NORMAL},
    {"checkin", 1, nif_checkin, NORMAL},
    {"abandon", 2, nif_abandon, NORMAL},
    {"verdict", 2, nif_verdict, NORMAL},
    /* A step of the machine, and what goes with it. */
    {"finish", 1, nif_finish, NORMAL},
    {"adopt", 2, nif_adopt, NORMAL},
    /* Encode and write, read and decode: within a budget, beyond it they go on on a dirty CPU scheduler. */
    {"call", 10, watched_nif_call, NORMAL},
    {"call_json", 8, watched_nif_call_json, NORMAL},
    {"reply", 3, watched_nif_reply, NORMAL},
    /* The same for pipelined workers. Their dispatcher's lock is held for a few instructions, or for copying a small frame. */
    {"dispatch_new", 6, nif_dispatch_new, NORMAL},
    {"dispatch_info", 1, nif_dispatch_info, NORMAL},
    {"dispatch_limit", 2, nif_dispatch_limit, NORMAL},
    {"dispatch_watch", 1, nif_dispatch_watch, NORMAL},
    {"dispatch_uneven", 2, nif_dispatch_uneven, NORMAL},
    {"submit", 10, watched_nif_submit, NORMAL},
    {"submit_json", 9, watched_nif_submit_json, NORMAL},
    {"leave", 3, nif_leave, NORMAL},
    {"stream_tell", 3, nif_stream_tell, NORMAL},
    {"lane_reply", 4, nif_lane_reply, NORMAL},
    {"take_over", 4, nif_take_over, NORMAL},
    {"set_host", 3, nif_set_host, NORMAL},
    {"lane_attach", 7, nif_lane_attach, NORMAL},
    {"lane_open", 7, nif_lane_open, NORMAL},
    {"lane_deliver", 2, watched_nif_lane_deliver, NORMAL},
    {"lane_recover", 1, nif_lane_recover, NORMAL},
    {"lane_flush", 1, nif_lane_flush, NORMAL},
    {"lane_drop", 2, nif_lane_drop, NORMAL},
    {"lane_stop", 2, nif_lane_stop, NORMAL},
    {"lane_give_up", 2, nif_lane_give_up, NORMAL},
    {"lane_unstarted", 1, nif_lane_unstarted, NORMAL},
    {"lane_shutdown", 1, nif_lane_shutdown, NORMAL},
    {"lane_retire", 1, nif_lane_retire, NORMAL},
    {"lane_rest", 1, nif_lane_rest, NORMAL},
    {"lane_forget", 1, nif_lane_forget, NORMAL},
    {"tenant_new", 3, nif_tenant_new, NORMAL},
    {"tenant_share", 2, nif_tenant_share, NORMAL},
    {"tenant_info", 1, nif_tenant_info, NORMAL},
    {"tenant_end", 2, nif_tenant_end, NORMAL},
    {"account_new", 1, nif_account_new, NORMAL},
    {"account_info", 2, nif_account_info, NORMAL},
    {"live", 0, nif_live, NORMAL},
    {"longest_stay", 1, nif_longest_stay, NORMAL},
};

static struct pc_nif_state *state_in_use;

struct pc_nif_state *pc_nif_state_any(void) {
    return state_in_use;
}

/* Opens every resource type; 0 or the first failure. */
static int types_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    if (pc_channel_load(env, flags) != 0 || pc_slots_load(env, flags) != 0 || pc_listener_load(env, flags) != 0 ||
        pc_encode_load(env, flags) != 0 || pc_dispatcher_load(env, flags) != 0 ||
        pc_frame_memory_load(env, flags) != 0 || pc_refs_load(env, flags) != 0 || pc_tenancy_load(env, flags) != 0 ||
        pc_account_load(env, flags) != 0 || pc_parcel_load(env, flags) != 0) {
        return -1;
    }
    return 0;
}

static int load(ErlNifEnv *env, void **priv, ERL_NIF_TERM templates) {
    struct pc_nif_state *state = enif_alloc(sizeof *state);
    if (state == NULL) {
        return -1;
    }
    memset(state, 0, sizeof *state);
    atomic_store(&state->incarnations, 1);
    pc_atoms_init(env);
    pc_small_init(env);
    state->term = pc_term_state_new(env, templates);
    if (state->term == NULL || types_load(env, ERL_NIF_RT_CREATE) != 0) {
        pc_term_state_free(state->term);
        enif_free(state);
        return -1;
    }
    pc_term_state_use(state->term);
    *priv = state_in_use = state;
    return 0;
}

static int upgrade(ErlNifEnv *env, void **priv, void **old_priv, ERL_NIF_TERM info) {
    (void)info;
    struct pc_nif_state *state = *old_priv;
    pc_atoms_init(env);
    pc_small_init(env);
    if (types_load(env, ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER) != 0) {
        return -1;
    }
    atomic_fetch_add(&state->incarnations, 1);
    pc_term_state_use(state->term);
    *priv = state_in_use = state;
    return 0;
}

static void unload(ErlNifEnv *env, void *priv) {
    (void)env;
    struct pc_nif_state *state = priv;
    bool last = atomic_fetch_sub(&state->incarnations, 1) == 1;
    /* Destructors of handles that outlive the module still count down here, so with any alive the state stays. */
    if (last && atomic_load(&state->listeners) + atomic_load(&state->channels) + atomic_load(&state->slots) +
                        atomic_load(&state->dispatchers) + atomic_load(&state->suspended) + atomic_load(&state->refs) +
                        atomic_load(&state->held) + atomic_load(&state->accounts) ==
                    0) {
        pc_term_state_free(state->term);
        enif_free(state);
    }
}

ERL_NIF_INIT(pitcrew_nif, functions, load, NULL, upgrade, unload)
