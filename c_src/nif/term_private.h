#ifndef PC_NIF_TERM_PRIVATE_H
#define PC_NIF_TERM_PRIVATE_H

/* What the term_*.c files share; term.h is for everybody else. */

#include "term.h"

/* Sets status, message and an empty path; returns the status, so that a function can end with it. */
enum pc_status pc_term_fail(ErlNifEnv *env, struct pc_term_error *err, enum pc_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* On the way out of a container: puts where we were in front of the path. Returns err->status. */
enum pc_status pc_term_unwind(ErlNifEnv *env, struct pc_term_error *err, ERL_NIF_TERM step);

/* Writes any atom as ext 1. False if the VM cannot tell its text (out of memory); the writer's errors are its own. */
bool pc_term_write_atom(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM atom);

/* The atom with this text if it exists, else a binary; false if the text is not UTF-8. */
bool pc_term_read_atom(ErlNifEnv *env, const uint8_t *text, uint32_t n, ERL_NIF_TERM *term);

/* An integer beyond 64 bits, as ext 2. False if the VM is out of memory. */
bool pc_term_write_bigint(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM integer);

/* Payload of ext 2; false if it breaks the rules or is larger than the VM's integers. */
bool pc_term_read_bigint(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term);

/* A map from arrays of n keys and values that may hold duplicates, of which the last wins. False when out of memory. */
bool pc_term_make_map(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t n, ERL_NIF_TERM *map);

/* n bytes as a binary; false when out of memory. */
bool pc_term_make_binary(ErlNifEnv *env, const void *bytes, size_t n, ERL_NIF_TERM *term);

#endif
