/*
 * The JSON library's table and its load, upgrade and unload callbacks. It is a library of its own because it needs jansson:
 * where that is missing, this does not load and all the rest does. No resources and no state: nothing outlives a call.
 *
 * jansson's memory functions stay malloc and free. They are one setting for the whole process, and other libraries in the
 * VM may use the same jansson and hold memory of its present functions.
 */

#include <jansson.h>

#include "json_atoms.h"
#include "nif_json.h"

enum {
    NORMAL = 0, /* a normal scheduler: bounded work, no lock but malloc's, no blocking call */
};

static ErlNifFunc functions[] = {
    /* Encodes within a budget and reschedules itself on a dirty CPU scheduler beyond it. */
    {"encode", 4, nif_json_encode, NORMAL},
    /* Decodes small text; reschedules itself on a dirty CPU scheduler for more. */
    {"decode", 4, nif_json_decode, NORMAL},
};

static int load(ErlNifEnv *env, void **priv, ERL_NIF_TERM info) {
    (void)priv;
    (void)info;
    pc_json_atoms_init(env);
    /* A random seed, so that nobody can prepare keys that collide. Here, because the first object may be made by two threads. */
    json_object_seed(0);
    return 0;
}

static int upgrade(ErlNifEnv *env, void **priv, void **old_priv, ERL_NIF_TERM info) {
    (void)old_priv;
    return load(env, priv, info);
}

static void unload(ErlNifEnv *env, void *priv) {
    (void)env;
    (void)priv;
}

ERL_NIF_INIT(pitcrew_json_nif, functions, load, NULL, upgrade, unload)
