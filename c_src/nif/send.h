#ifndef PC_NIF_SEND_H
#define PC_NIF_SEND_H

#include <erl_nif.h>

/*
 * Sends a message and frees its env. Whoever is alive gets it, also when the process in whose name we run is not:
 * enif_send refuses to send for a process that was killed while a native function of its was on a dirty scheduler,
 * and what falls due there must be told all the same.
 */
void pc_send(ErlNifEnv *env, const ErlNifPid *to, ErlNifEnv *message_env, ERL_NIF_TERM message);

#endif
