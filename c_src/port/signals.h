#ifndef PC_PORT_SIGNALS_H
#define PC_PORT_SIGNALS_H

/*
 * Signals for a program with one loop: all that are handled stay blocked except inside pc_signals_poll, so a handler
 * never interrupts anything else and no wake-up is lost.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* SIGTERM, SIGINT and SIGHUP are noted, SIGCHLD wakes, SIGPIPE is ignored, everything else as a fresh program has it. */
void pc_signals_init(void);

/* poll(2) with milliseconds, -1 for ever; the revents are all 0 when a signal ended it. Returns 0 or -errno, never -EINTR. */
int pc_signals_poll(struct pollfd *fds, nfds_t n, int64_t timeout_ms);

/* Whether one that asks to stop came since the last question. SIGCHLD only ends the wait: ask waitid. */
bool pc_signals_take_stop(void);

/* In a child before exec: default dispositions, then nothing blocked. Async-signal-safe. */
void pc_signals_reset(void);

/* Milliseconds of the monotonic clock. */
int64_t pc_now_ms(void);

#endif
