#ifndef PC_NIF_FRAME_H
#define PC_NIF_FRAME_H

/* An answer's frame as the VM reads it, whatever its format. */

#include <erl_nif.h>

#include "codec/reader.h"
#include "wire/io.h"
#include "wire/json_frame.h"
#include "wire/segment_footer.h"

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

#endif
