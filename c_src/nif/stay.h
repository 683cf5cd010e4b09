#ifndef PC_NIF_STAY_H
#define PC_NIF_STAY_H

/*
 * How long functions stay on a normal scheduler, for tests and benchmarks: by the processor time of the thread, so that what
 * other programs take is not counted. Not measured unless somebody has asked for it.
 */

#include "nif.h"

/* Nanoseconds of processor time, or 0 when nobody wants to know. */
int64_t pc_stay_begin(ErlNifEnv *env);
void pc_stay_end(ErlNifEnv *env, int64_t begin);

#endif
