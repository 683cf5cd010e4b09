#ifndef PC_PYTHON_ASIDE_H
#define PC_PYTHON_ASIDE_H

/*
 * Frames that come while a call runs, where one runs at a time. The answers of functions and what concerns a stream are heard at once; the others,
 * calls of a pipelined worker and what is to be forgotten behind them, are put aside, in order, and are the next to be read when the call has ended.
 * With the GIL.
 */

#include "serving.h"

/* Takes what there is. PC_IO_AGAIN: that was all. What is wrong is found again when the call has ended. */
enum pc_io pc_aside_read(struct pc_server *s);

/* When the call has ended. -1: no memory, an exception. */
int pc_aside_take_back(struct pc_server *s);

#endif
