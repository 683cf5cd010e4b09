#ifndef PC_PYTHON_INNER_H
#define PC_PYTHON_INNER_H

/*
 * Calls inside of others (docs/protocol.md, section 3, Calls that functions make), where one call runs at a time: what a function of the VM's calls may come to this very
 * worker, while the thread that serves waits for that function. It is run there and then, on top of the call that waits. With the GIL, on the thread that
 * serves.
 */

#include "serving.h"

/* Calls on top of each other. */
enum { PC_MOST_LEVELS = 65 };

void pc_inner_open(void);

/* Whether one could be run at this place: with some of the stack left for it, and nothing half done. */
bool pc_inner_can(const struct pc_server *s);

/* Runs those that have come. -1: an exception to be raised in the call that waits, which they have been run inside of. */
int pc_inner_run(struct pc_server *s);

#endif
