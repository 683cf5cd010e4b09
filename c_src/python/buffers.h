#ifndef PC_PYTHON_BUFFERS_H
#define PC_PYTHON_BUFFERS_H

/*
 * The shared memory of a worker and its VM (wire/segment.h): segments of the VM's that are read here, and segments of our own. One
 * per process, from `hello` to the end of serving; without it every payload is in its frame. No Python here, but where nothing else
 * is said a function is called with the GIL, which guards the pointers. Nothing of it is for a process that a tool forked.
 */

#include <stdbool.h>
#include <stddef.h>

#include "wire/segment.h"

struct pc_buffers;

/*
 * Takes the socket over in any case, keeps it from children, and waits for the boards, which come first. `most` bytes of either
 * end's segments are mapped at once. 0 or -errno; -EPROTO when something else than the boards has come.
 */
int pc_buffers_open(int socket, size_t most);

/* Nothing new is lent or read any more. What is still looked at stays where it is. */
void pc_buffers_close(void);

/* Those that are open, or NULL: none are, or this process was forked by a tool. */
struct pc_buffers *pc_buffers_now(void);

/* Our own segments stay mapped until the last hold has been released. */
void pc_buffers_hold(struct pc_buffers *b);
void pc_buffers_release(struct pc_buffers *b);

/* The ends, which may be used without the GIL while they are held, or cannot be closed. */
struct pc_segments *pc_buffers_out(struct pc_buffers *b);
struct pc_views *pc_buffers_in(struct pc_buffers *b);

/* An answer is through: what the next one may need is made ready by a thread. */
void pc_buffers_prepare(struct pc_buffers *b);

/* Gives back to the system what has not been used for a while. The side thread's, which needs no GIL: it starts after open and ends before close. */
void pc_buffers_tend(void);

#endif
