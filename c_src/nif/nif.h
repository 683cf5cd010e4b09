#ifndef PC_NIF_NIF_H
#define PC_NIF_NIF_H

/*
 * What the files of nif/ share: the native functions, the library's state, and how much work a function may do on a
 * normal scheduler. The table of functions is in pitcrew_nif.c, one row for each declaration below.
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
    atomic_llong descriptors;
    struct pc_term_state *term; /* the codec's */
};

/*
 * Work that is done inline. A unit is about one number or 32 bytes, 5 to 20 ns; what costs more counts as several. A full
 * budget stays below the millisecond that a NIF may take. What needs more goes on, or starts over, on a dirty CPU scheduler.
 */
#define PC_INLINE_UNITS 32000
/* Input that is decoded inline, in bytes, if the units suffice. */
#define PC_INLINE_BYTES (64 * 1024)

/* Tells the scheduler about units of work done; at most a whole time slice is taken. Only on a normal scheduler. */
void pc_nif_consume(ErlNifEnv *env, int64_t units);

/* The library's state, in a NIF or a resource callback. */
static inline struct pc_nif_state *pc_nif_state(ErlNifEnv *env) { return enif_priv_data(env); }

/* Codec: nif_encode.c, nif_decode.c. */
ERL_NIF_TERM nif_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_encode_iov(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_decode_all(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Listening: nif_listener.c. */
ERL_NIF_TERM nif_listen(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_accept(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_close_listener(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Channels in phase control: nif_channel.c. */
ERL_NIF_TERM nif_channel_give(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_send(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_recv(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_flush(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_close(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_channel_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Slots: slots.c. */
ERL_NIF_TERM nif_slots_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_install(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_remove(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_set_waiting(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_slots_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* The path of a call: nif_call.c. */
ERL_NIF_TERM nif_claim(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_claim_for(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_checkin(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_abandon(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_verdict(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* Leak gates: nif_live.c. */
ERL_NIF_TERM nif_live(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

/* "posix" as an atom, e.g. eacces. */
ERL_NIF_TERM pc_posix_atom(ErlNifEnv *env, int number);

#endif
