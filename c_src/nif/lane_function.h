#ifndef PC_NIF_LANE_FUNCTION_H
#define PC_NIF_LANE_FUNCTION_H

/*
 * Functions and tools that a worker calls in the VM (docs/protocol.md, section 3, Functions): a frame `call` that a lane's reader finds goes to the
 * host of that call, a process, as
 *
 *   {pitcrew_function, Channel, Id, Index | Name, Waits, Bytes}
 *
 * with the array of args and kwargs as bytes, for whoever runs the function to decode; Waits says whether what it calls may run inside of the call
 * (wire/inner.h). Of a call that has no host its caller is sent the same, as {pitcrew_called, Ref, _}: leave/3 tells it how many of these there have been.
 */

#include "nif/frame.h"
#include "nif/lane.h"

enum pc_function {
    PC_FUNCTION_CALLED,
    PC_FUNCTION_GONE,  /* nobody waits for that call any more, or it has no functions: the worker is told */
    PC_FUNCTION_WRONG, /* the frame is not what it should be */
};

/* A frame that pc_frame_open has looked at. With *is_taken its memory is gone from the inbox, and the frame with it. */
enum pc_function pc_lane_function(ErlNifEnv *env, struct pc_channel *c, struct pc_frame *f, bool *is_taken);

#endif
