#ifndef PC_PYTHON_RECORDS_H
#define PC_PYTHON_RECORDS_H

/*
 * What Python has to tell on its way to the VM, records of logging and events of telemetry (docs/protocol.md section 4). Threads of Python put frames
 * in and never wait; the side thread sends as many as the VM has given it credit for. What finds no room is dropped and counted, and the VM is
 * told how many. Each sort has room and credit of its own, so that a flood of one costs nothing of the other.
 *
 * No Python here. Not for a process that a tool forked: the lock may be held there by a thread that is not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/io.h"

enum { PC_RECORDS_ROOM = 256 * 1024, PC_RECORDS_BATCH = 32 * 1024 };

enum pc_records_sort { PC_RECORDS_LOGS, PC_RECORDS_EVENTS, PC_RECORDS_SORTS };

/* What has become of one. */
enum pc_records_put { PC_RECORDS_CLOSED, PC_RECORDS_DROPPED, PC_RECORDS_TAKEN };

/* `credit` of that sort may be sent, as soon as there is a side thread. With 0 it stays closed. */
void pc_records_open(enum pc_records_sort sort, uint64_t credit);

/* Once the side thread has ended. */
void pc_records_close(void);

/* ---- Python's threads */

/* A whole frame of at most PC_RECORDS_BATCH bytes, to be sent or dropped, as it is without memory. */
enum pc_records_put pc_records_put(enum pc_records_sort sort, const uint8_t *frame, size_t n);

/* ---- The side thread */

/* So many more may be sent. */
void pc_records_credit(enum pc_records_sort sort, uint64_t n);

/* A descriptor that is readable when pc_records_tick, and then pc_records_take, is to be called; -1: never. */
int pc_records_alarm(void);
void pc_records_tick(void);

/*
 * Appends to an outbox in which nothing is pending what may be sent, at most PC_RECORDS_BATCH bytes and a few for how many were dropped;
 * whether there was anything. The outbox has room for that.
 */
bool pc_records_take(struct pc_outbox *out);

#endif
