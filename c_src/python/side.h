#ifndef PC_PYTHON_SIDE_H
#define PC_PYTHON_SIDE_H

/*
 * The side channel (docs/protocol.md section 4): a thread without Python that answers pings, so that a tool which holds
 * the GIL for an hour is still seen to be alive, cancels calls (turn.h), sends answers that are held too long (hold.h)
 * and what Python has to tell (records.h). One per process. The GIL makes no difference to any function here.
 */

/* Starts the thread, once turn and hold are open, on a socket that stays the caller's. 0 or -errno. */
int pc_side_start(int fd);

/*
 * Shuts the socket down and waits for the thread, which does nothing that takes long, and at last sends of what is held, and of the
 * records that wait, what the sockets have room for.
 */
void pc_side_stop(void);

#endif
