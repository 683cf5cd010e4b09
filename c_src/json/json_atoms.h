#ifndef PC_JSON_ATOMS_H
#define PC_JSON_ATOMS_H

#include <erl_nif.h>

#define X(name) extern ERL_NIF_TERM am_##name;
#define Y(name, text) extern ERL_NIF_TERM am_##name;
#include "json_atoms.def"
#undef X
#undef Y

/* Makes them all; once, at load. */
void pc_json_atoms_init(ErlNifEnv *env);

#endif
