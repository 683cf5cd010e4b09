#ifndef PC_NIF_LANE_ANSWER_H
#define PC_NIF_LANE_ANSWER_H

/*
 * What whoever waits for a call of a lane is told of a frame: small values are decoded in the env of the job, by the reader; large ones, and those
 * with references or segments, go out as bytes, which their receivers decode.
 */

#include "nif/budget.h"
#include "nif/frame.h"
#include "nif/lane.h"

/* PC_BUDGET: it is to be handed out. Otherwise *value is the term or, on failure, {error, codec_error()}. */
enum pc_status pc_lane_decode(struct pc_job *job, struct pc_frame *f, struct pc_budget *budget, ERL_NIF_TERM *value);

/* A tuple frame or json of pitcrew_pipeline:answer(). With *is_taken the frame's memory is gone from the inbox, and the frame with it. */
ERL_NIF_TERM pc_lane_hand_out(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                              bool *is_taken);

/* One or the other: any of pitcrew_pipeline:answer(). */
ERL_NIF_TERM pc_lane_answer(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                            bool *is_taken);

/* The value as bytes, for its receiver to decode. Those of a large frame are the inbox's memory, which the frame then takes along (*is_taken). */
bool pc_lane_value_bytes(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f, bool *is_taken,
                         ERL_NIF_TERM *bytes);

#endif
