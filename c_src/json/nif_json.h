#ifndef PC_JSON_NIF_JSON_H
#define PC_JSON_NIF_JSON_H

#include <erl_nif.h>

/* encode(Term, Nil, Indent, SortKeys) and decode(Binary, Nil, DuplicateKeys, BigIntegers) of pitcrew_json_nif.erl. */
ERL_NIF_TERM nif_json_encode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
ERL_NIF_TERM nif_json_decode(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
