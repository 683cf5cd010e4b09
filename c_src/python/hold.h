#ifndef PC_PYTHON_HOLD_H
#define PC_PYTHON_HOLD_H

/*
 * Answers that are ready and not sent yet, so that many go out in one system call. They lie in memory that outlives
 * this process, where the VM finds them if it ends before they are sent (docs/protocol.md section 2): none is lost,
 * none comes twice.
 *
 * The serve loop puts answers in and sends them when nothing follows at once. When a tool takes long meanwhile, the
 * side thread sends them after a millisecond or two: an alarm that is on only where something was held lately wakes it.
 *
 * No Python here, and nothing waits. Not for a process that a tool forked: it has neither the memory nor whoever may
 * hold the lock.
 */

#include <stdbool.h>
#include <stddef.h>

#include "wire/io.h"
#include "wire/started.h"

enum { PC_HOLD_TICK_MS = 1 };

/*
 * The socket and the memory stay the caller's. Without an alarm nothing is ever held. Without memory (NULL) it lies in our own, and what is held
 * is lost with this process: only chunks of streams may be.
 */
void pc_hold_open(struct pc_started *memory, int call_fd);
/* Nothing is held. */
void pc_hold_open_none(void);
/* Whether what is held outlives this process. */
bool pc_hold_is_safe(void);

/* Once the side thread has ended. What is held stays in the memory. */
void pc_hold_close(void);

/* ---- The serve loop */

/* A whole frame. False: it cannot be held. It must then be sent once nothing is held, and counted. */
bool pc_hold_put(const uint8_t *frame, size_t n);

/* Bytes that the socket has taken from elsewhere while nothing was held. */
void pc_hold_count(size_t n);

/* Whether something is held. It may be sent at any moment, but nothing comes in but by pc_hold_put. */
bool pc_hold_any(void);

/* PC_IO_AGAIN: the socket has no room for all of it. PC_IO_EOF: nobody will read it there. */
enum pc_io pc_hold_flush(void);

/* ---- The side thread */

/* A descriptor that is readable when pc_hold_tick is to be called; -1: never. */
int pc_hold_alarm(void);
void pc_hold_tick(void);

/* Milliseconds after which it is to be called although the alarm is silent, for a tool may have closed that; or -1. */
int pc_hold_patience(void);

/* Nobody calls pc_hold_tick any more: sends what it can, and from now on nothing is held. */
void pc_hold_unwatch(void);

#endif
