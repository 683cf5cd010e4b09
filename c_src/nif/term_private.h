#ifndef PC_NIF_TERM_PRIVATE_H
#define PC_NIF_TERM_PRIVATE_H

/* What the term_*.c files share; term.h is for everybody else. */

#include "term.h"
#include "term_struct.h"

/*
 * What is rare stays out of the functions that are not. A level of a deep term should take little of the stack, too, which is
 * cold memory down there: each kind of container has a frame of its own.
 */
#define APART __attribute__((noinline))

/* Sets status, message and an empty path; returns the status, so that a function can end with it. */
enum pc_status pc_term_fail(ErlNifEnv *env, struct pc_term_error *err, enum pc_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* On the way out of a container: puts where we were in front of the path. Returns err->status. */
enum pc_status pc_term_unwind(ErlNifEnv *env, struct pc_term_error *err, ERL_NIF_TERM step);

/*
 * On the way out of a key or of a set's element: a path through it would read as one to a value, so it ends at the container, and
 * the message says where in that. Returns err->status.
 */
enum pc_status pc_term_stop_here(ErlNifEnv *env, struct pc_term_error *err, const char *where);

/* Writes any atom as ext 1 or as str. False if the VM cannot tell its text (out of memory); the writer's errors are its own. */
bool pc_term_write_atom(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM atom, bool as_str);

/* The text of an atom, or 0 when out of memory. */
ERL_NIF_TERM pc_term_atom_text(ErlNifEnv *env, ERL_NIF_TERM atom);

/* The atom with this text, which is UTF-8, if it exists. */
bool pc_term_find_atom(ErlNifEnv *env, const uint8_t *text, uint32_t n, ERL_NIF_TERM *term);

/*
 * Integers of more bytes are for a dirty scheduler: the VM takes memory of their size more than once, which costs more than
 * their digits. make_bounds: the least of them below and above zero; false when out of memory.
 */
enum { PC_HUGE_INTEGER = 16 * 1024 };
bool pc_term_make_bounds(ErlNifEnv *env, ERL_NIF_TERM bounds[2]);
bool pc_term_is_huge_integer(ERL_NIF_TERM integer);

/* An integer beyond 64 bits, as ext 2. False if the VM is out of memory. */
bool pc_term_write_bigint(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM integer);

/* Payload of ext 2; false if it breaks the rules or is larger than the VM's integers. */
bool pc_term_read_bigint(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term);

/* Date, Time, NaiveDateTime or DateTime from its fields. */
enum pc_status pc_term_write_calendar(ErlNifEnv *env, struct pc_writer *w, enum pc_struct which,
                                      const ERL_NIF_TERM fields[], struct pc_term_error *err);

/*
 * Payloads of ext 5 to 8. PC_INVALID if there is no such date or time, or it is no such payload. PC_WRONG_TYPE from
 * pc_term_read_timestamp is a moment that no DateTime holds: nanoseconds, or another year than ours.
 */
enum pc_status pc_term_read_calendar(ErlNifEnv *env, enum pc_struct which, const uint8_t *payload, uint32_t n,
                                     ERL_NIF_TERM *term);
enum pc_status pc_term_read_timestamp(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term);

/* Any term as ext 13. False when the VM is out of memory. */
bool pc_term_write_opaque(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term);

/* Payload of ext 13; false if it is not what this VM wrote. */
bool pc_term_read_opaque(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term);

/* A map from arrays of n keys and values that may hold duplicates, of which the last wins. False when out of memory. */
bool pc_term_make_map(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values, size_t n, ERL_NIF_TERM *map);

#endif
