#ifndef PC_PYTHON_FUNCTION_ALONE_H
#define PC_PYTHON_FUNCTION_ALONE_H

/*
 * Functions of the VM where one call runs at a time: whoever calls one, on the main thread or in a thread of the tool's own, reads the call channel until
 * the answer is there. With the GIL.
 */

#include "serving.h"

/* From here to the close functions can be called; on the thread that serves. */
void pc_function_open_alone(struct pc_server *s);
void pc_function_close_alone(void);

/* How many calls run, each inside of the one before, which waits for a function. */
unsigned pc_function_levels(void);

/* Which call runs. Before the answer of one that ends is made: whoever waits for a function of it does not any more, and what is left to be sent is. */
void pc_function_begin_call(uint64_t id, PyObject *name);
enum pc_next pc_function_end_call(void);

/* For whoever sends something else meanwhile: whether frames of functions are still to be sent, and a try to do that, without a wait. */
bool pc_function_sends(void);
enum pc_io pc_function_flush(void);

#endif
