#ifndef PC_PYTHON_CROWD_FUNCTION_H
#define PC_PYTHON_CROWD_FUNCTION_H

/*
 * Functions of the VM where many calls run at once: a thread waits, without the GIL, and in a coroutine what is called gives a future of the loop. The
 * main thread reads the answers. A call that waits for a function does not count among those that run, so that others can begin, also those
 * that the function itself makes.
 */

#include "crowd.h"

void pc_crowd_functions_open(struct pc_crowd *c);
void pc_crowd_functions_close(void);

/* Whoever waits in the call's thread looks whether it is to be interrupted. */
void pc_crowd_function_ring(const struct pc_call *call);

/* Before the call's answer is made. */
void pc_crowd_function_end_call(const struct pc_call *call);

#endif
