/* The atoms of json_atoms.def, made once at load. Atoms are never collected, so the terms stay valid in every env. */

#include "json_atoms.h"

#define X(name) ERL_NIF_TERM am_##name;
#define Y(name, text) ERL_NIF_TERM am_##name;
#include "json_atoms.def"
#undef X
#undef Y

void pc_json_atoms_init(ErlNifEnv *env) {
#define X(name) am_##name = enif_make_atom(env, #name);
#define Y(name, text) am_##name = enif_make_atom(env, text);
#include "json_atoms.def"
#undef X
#undef Y
}
