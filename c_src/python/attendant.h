#ifndef PC_PYTHON_ATTENDANT_H
#define PC_PYTHON_ATTENDANT_H

/*
 * A thread that takes the GIL for those who must not wait for it. Of a worker that runs many calls at once: the side thread wakes it
 * when one of them is to be interrupted. As long as it does not come, something holds the GIL.
 */

#include "core.h"

/* `attend` is called with the GIL after each wake, or once after many. Waits for the thread to be there. 0, or -1 with an exception. */
int pc_attendant_start(void (*attend)(void *context), void *context);

/* From any thread, with or without the GIL; never waits. */
void pc_attendant_wake(void);

/* Waits for the thread to end. */
void pc_attendant_stop(void);

#endif
