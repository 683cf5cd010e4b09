/* live/0: how many native handles are alive, for leak gates. */
#include "nif/atoms.h"
#include "nif/nif.h"

ERL_NIF_TERM nif_live(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc, (void)argv;
    struct pc_nif_state *state = pc_nif_state(env);
    ERL_NIF_TERM keys[] = {am_listeners, am_channels, am_slots, am_dispatchers, am_descriptors,
                           am_suspended, am_refs,     am_held,  am_accounts};
    ERL_NIF_TERM values[] = {
        enif_make_int64(env, atomic_load(&state->listeners)),   enif_make_int64(env, atomic_load(&state->channels)),
        enif_make_int64(env, atomic_load(&state->slots)),       enif_make_int64(env, atomic_load(&state->dispatchers)),
        enif_make_int64(env, atomic_load(&state->descriptors)), enif_make_int64(env, atomic_load(&state->suspended)),
        enif_make_int64(env, atomic_load(&state->refs)),        enif_make_int64(env, atomic_load(&state->held)),
        enif_make_int64(env, atomic_load(&state->accounts))};
    ERL_NIF_TERM map;
    (void)enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}
