#ifndef PC_NIF_FRAME_MEMORY_H
#define PC_NIF_FRAME_MEMORY_H

/* Memory of large frames: on the way from one scheduler to another, or that of the binaries in an answer. */

#include "nif/frame.h"

struct pc_body;

/* Opens the resource type of frames' memory; 0 or -1. */
int pc_frame_memory_load(ErlNifEnv *env, ErlNifResourceFlags flags);

/*
 * From a dirty scheduler on to a normal one, where `name` goes on as `fun`: with a body of malloc's, which is taken in any case, behind at
 * most PC_FRAME_MEMORY_ARGS arguments. `of` is the channel whose shared memory the body speaks of, or NULL. *next, which may be 0, is for the native function to return. False when
 * out of memory.
 */
enum { PC_FRAME_MEMORY_ARGS = 10 };
bool pc_frame_memory_schedule(ErlNifEnv *env, const char *name,
                              ERL_NIF_TERM (*fun)(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]), int argc,
                              const ERL_NIF_TERM argv[], const struct pc_body *body, struct pc_channel *of,
                              ERL_NIF_TERM *next);

/*
 * That body, whose memory is its own from here on, and the channel, whose handle is the caller's to release; false if the argument is something
 * else.
 */
bool pc_frame_memory_body(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_body *body, struct pc_channel **of);

/* The frame's payload as a binary of the inbox's memory, which it takes together with the frame. 0, with nothing changed, when out of memory. */
ERL_NIF_TERM pc_frame_memory_take(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f);

#endif
