#ifndef PC_NIF_NIF_H
#define PC_NIF_NIF_H

/*
 * What the files of nif/ share: the native functions and the library's state. The table of functions is in pitcrew_nif.c,
 * one row for each declaration below. How much work a function may do on a normal scheduler is in budget.h.
 */

#include <erl_nif.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pc_term_state;

/*
 * priv_data. One for all incarnations of the library: `upgrade` hands it on, the last `unload` frees it unless handles are
 * still alive. enif_priv_data(env) gives it in NIFs and in resource callbacks; a destructor counts down as its last act.
 */
struct pc_nif_state {
    atomic_int incarnations; /* loaded libraries that point here */
    /* Native handles alive, for live/0. */
    atomic_llong listeners;
    atomic_llong channels;
    atomic_llong slots;
    atomic_llong dispatchers;
    atomic_llong refs; /* and leases: refs.h */
    atomic_llong held; /* payloads in shared memory, and parcels: parcel.h */
    atomic_llong accounts;
    atomic_llong descriptors;
    atomic_llong suspended;     /* encodings between two schedulers */
    struct pc_term_state *term; /* the codec's */
    /* stay.h */
    atomic_bool watches_stays;
    atomic_llong longest_stay;
};

/* Frames that are decoded inline, in bytes, if the budget suffices. */
#define PC_INLINE_BYTES (64 * 1024)

/* The library's state, in any env or none, and in a NIF or a resource callback. */
struct pc_nif_state *pc_nif_state_any(void);
static inline struct pc_nif_state *pc_nif_state(ErlNifEnv *env) { return enif_priv_data(env); }

/* Codec: nif_encode.c, nif_decode.c. */
int pc_encode_load(ErlNifEnv *env, ErlNifResourceFlags flags);
ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_encode_iov(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_decode_all(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* What the cache asks of terms: nif_key.c. */
ERL_NIF_TERM nif_term_key(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_term_weight(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Listening: nif_listener.c. */
ERL_NIF_TERM nif_listen(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_accept(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_close_listener(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Channels in phase control: nif_channel.c. */
ERL_NIF_TERM nif_channel_give(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_hello(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_send(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_recv(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_flush(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_close(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Slots: slots.c. */
ERL_NIF_TERM nif_slots_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_install(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_remove(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_drain(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* The path of a call: nif_call.c, nif_call_json.c, nif_reply.c. */
ERL_NIF_TERM nif_call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_call_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Its ends: nif_claim.c. */
ERL_NIF_TERM nif_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_checkin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_abandon(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_verdict(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Pipelined workers: dispatcher.c, nif_submit.c, nif_lane.c. */
ERL_NIF_TERM nif_dispatch_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_dispatch_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_dispatch_limit(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_dispatch_watch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_dispatch_uneven(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_submit(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_submit_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_leave(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_attach(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_open(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_deliver(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_recover(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_flush(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_drop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_give_up(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_unstarted(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_stop(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_shutdown(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Streams: nif_stream.c. */
ERL_NIF_TERM nif_stream_tell(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* Functions: nif_function.c, nif_take_over.c. */
ERL_NIF_TERM nif_take_over(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_set_host(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* What is held of shared memory: account.c, nif_buffers.c. */
ERL_NIF_TERM nif_account_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_account_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_tend(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Sessions, and what workers are to forget: tenancy.c. */
ERL_NIF_TERM nif_tenant_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_tenant_share(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_tenant_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_tenant_end(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_forget(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_retire(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_lane_rest(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Calls that outlive their callers: nif_adopt.c. */
ERL_NIF_TERM nif_finish(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_adopt(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Leak gates: nif_live.c. */
ERL_NIF_TERM nif_live(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* How long functions stay: stay.c. */
ERL_NIF_TERM nif_longest_stay(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* "posix" as an atom, e.g. eacces. */
ERL_NIF_TERM pc_posix_atom(ErlNifEnv *env, int number);

#endif
