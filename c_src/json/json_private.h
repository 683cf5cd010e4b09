#ifndef PC_JSON_PRIVATE_H
#define PC_JSON_PRIVATE_H

/* What the json_*.c files share; json.h is for everybody else. */

#include "json.h"

enum { PC_JSON_ATOM_BYTES = 4 * 255 };

/* Sets status, message and an empty path; returns the status, so that a function can end with it. */
enum pc_status pc_json_fail(ErlNifEnv *env, struct pc_json_error *err, enum pc_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for an error about text: the message says where, too. */
enum pc_status pc_json_fail_at(ErlNifEnv *env, struct pc_json_error *err, enum pc_status status, const char *message,
                               int line, int column, size_t position);

/* On the way out of a container: puts where we were in front of the path. Returns err->status. */
enum pc_status pc_json_unwind(ErlNifEnv *env, struct pc_json_error *err, ERL_NIF_TERM step);

/*
 * The text of an atom in UTF-8; returns its length, or SIZE_MAX when the VM is out of memory. *far tells that it is beyond
 * Latin-1, and took longer.
 */
size_t pc_json_atom_text(ErlNifEnv *env, ERL_NIF_TERM atom, char text[PC_JSON_ATOM_BYTES], bool *far);

#endif
