#ifndef PC_PYTHON_INTERRUPT_H
#define PC_PYTHON_INTERRUPT_H

/*
 * pitcrew.Cancelled in the middle of a tool: PC_TURN_SIGNAL has a handler as signal.signal would install it, so it ends system calls
 * that wait, and Python runs it on the main thread, between two instructions. There it looks again whether the call that was to be
 * cancelled is the one that runs.
 */

#include "core.h"

/*
 * Whether the calling thread can be interrupted from now on: 1 or 0. Not if it is not the main thread, and not if the user's modules
 * have a handler of their own for the signal, which stays. The handler is never taken away: it does nothing when no call runs.
 */
int pc_interrupt_install(void);

#endif
