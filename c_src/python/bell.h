#ifndef PC_PYTHON_BELL_H
#define PC_PYTHON_BELL_H

/* How a thread that waits for the call channel is told of something else: whoever tells it has the GIL, and runs no Python. */

#include "core.h"

struct pc_bell {
    int ends[2]; /* owned: of a pipe; -1 */
};

#define PC_NO_BELL ((struct pc_bell){.ends = {-1, -1}})

/* 0, also where it is open already, or -1 and an exception. */
int pc_bell_open(struct pc_bell *b);
void pc_bell_close(struct pc_bell *b);

/* Nobody waits where it has not been opened. */
void pc_bell_ring(const struct pc_bell *b);
void pc_bell_hush(const struct pc_bell *b);

/* Until it is rung, or there is something to read from the descriptor, or a signal handler has run. 0 or -1. It is hushed. */
int pc_bell_wait(const struct pc_bell *b, int fd);

#endif
