#ifndef PC_NIF_FRAME_H
#define PC_NIF_FRAME_H

/* An answer's frame as the VM reads it, whatever its format; and memory of large ones, which becomes that of the binaries in them. */

#include <erl_nif.h>

#include "codec/reader.h"
#include "wire/io.h"
#include "wire/json_frame.h"
#include "wire/segment_footer.h"

struct pc_body;
struct pc_channel;

struct pc_frame {
    const uint8_t *payload;
    size_t n;
    bool json;
    int64_t kind;
    uint64_t id;
    struct pc_json_head head; /* JSON */
    struct pc_reader r;       /* MessagePack: behind the id */
    uint32_t count;
    /* Of an answer, once pc_frame_answer has looked at it. */
    int64_t python_ns;
    const uint8_t *value;
    size_t size;
    bool has_refs;                     /* there are references in it */
    struct pc_segment_footer segments; /* `count` is 0 where there are none */
    size_t apart;                      /* bytes in those */
};

/* Reads kind and id of f->payload; false if the frame cannot be delimited. */
bool pc_frame_open(struct pc_frame *f);

/* What stands behind the id of a reply, a chunk or an error; false if it is not that. In MessagePack f->r stands before the value then. */
bool pc_frame_answer(struct pc_frame *f);

/* `reply`, also of a chunk, or `fault`. */
ERL_NIF_TERM pc_frame_kind(const struct pc_frame *f);

/* Python's nanoseconds; or, where a call is `timed`, {PythonNs, CodecNs}, how long the decoding took. */
ERL_NIF_TERM pc_frame_times(ErlNifEnv *env, const struct pc_frame *f, bool timed, int64_t codec_ns);

/* With its length in front. */
ERL_NIF_TERM pc_frame_bytes(ErlNifEnv *env, const struct pc_frame *f);

/* Nobody will read this answer of the channel's worker: its references, and what it names in shared memory, go back. */
void pc_channel_drop_frame(struct pc_channel *channel, const struct pc_frame *f);

/* Writes an error frame in MessagePack, of a call that has taken no time. */
void pc_frame_error_write(struct pc_writer *w, uint64_t id, const char *kind, const char *message);

/* Writes an error frame for a kind that is not known, in the format of that frame. */
void pc_frame_refuse(struct pc_writer *w, const struct pc_frame *f);

enum {
    PC_FRAME_MOST_WASTED = 16, /* a binary keeps at most so many times its size alive */
    PC_MOST_STRAYS = 1000,     /* frames in a row that end no call: then their sender is not listened to any more */
};

/* Opens the resource type of frames' memory; 0 or -1. */
int pc_frame_load(ErlNifEnv *env, ErlNifResourceFlags flags);

/*
 * From a dirty scheduler on to a normal one, where `name` goes on as `fun`: with a body of malloc's, which is taken in any case, behind at
 * most PC_FRAME_MOST_ARGS arguments. `of` is the channel whose shared memory the body speaks of, or NULL. *next, which may be 0, is for the native function to return. False when
 * out of memory.
 */
enum { PC_FRAME_MOST_ARGS = 10 };
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
ERL_NIF_TERM pc_frame_take(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f);

#endif
