#ifndef PC_NIF_GATHER_H
#define PC_NIF_GATHER_H

/*
 * Chunks of one stream that a lane's reader finds one after the other, on their way to the consumer in one message:
 *
 *   {pitcrew_chunks, Ref, Cost, Bytes, [Term]}      small ones
 *   {pitcrew_chunk, Ref, Cost, Bytes, Answer}       one that its receiver decodes, or whose decoding failed: pitcrew_pipeline:answer()
 *
 * Cost is what they take of the credit (wire/stream.h), Bytes what they had on the wire and in segments.
 */

#include "nif/budget.h"
#include "nif/frame.h"
#include "nif/lane.h"

enum { PC_MOST_GATHERED = 256 };

struct pc_gather {
    struct pc_channel *c;
    uint64_t id;
    struct pc_job to; /* whom, with what options, and the message's env, which is NULL while there is nothing */
    ERL_NIF_TERM terms[PC_MOST_GATHERED];
    unsigned n;
    int64_t cost, last; /* of all, and of the last one */
    size_t bytes;
};

/* On the stack of a reader that has pinned its lane; ends with pc_gather_send. */
void pc_gather_init(struct pc_gather *g, struct pc_channel *c);

/* One more chunk, which pc_frame_answer has looked at. False: there is no such stream, or it has no credit. */
bool pc_gather_add(ErlNifEnv *env, struct pc_gather *g, struct pc_frame *f, struct pc_budget *budget, bool *is_taken);

/* Sends what there is; nothing is left then. False as above. */
bool pc_gather_send(ErlNifEnv *env, struct pc_gather *g);

#endif
