#ifndef PC_PYTHON_ASIDE_H
#define PC_PYTHON_ASIDE_H

/*
 * Frames that come while no call can begin: where one runs at a time, while it does; where many do, while as many run as may. The answers of functions and
 * what concerns a stream are heard at once; the others, calls and what is to be forgotten behind them, are put aside, in order, and are the next to be read
 * when a call has ended. With the GIL.
 */

#include "serving.h"

/*
 * Takes the next frame, if there is one: PC_IO_DONE. Python may have run then, and the call, or all, may have ended: whoever goes on looks first.
 * PC_IO_AGAIN: there is none. What is wrong is found again when the call has ended.
 */
enum pc_io pc_aside_read(struct pc_server *s);

/* When the call has ended. -1: no memory, an exception. */
int pc_aside_take_back(struct pc_server *s);

#endif
