#ifndef PC_PYTHON_CROWD_STREAM_H
#define PC_PYTHON_CROWD_STREAM_H

/*
 * Streams where many calls run at once: an iterator in the thread that has called the tool, an asynchronous generator on the loop. The main thread
 * reads what the VM says, and wakes whoever waits for it.
 */

#include "crowd.h"
#include "stream.h"

/* In a hand: steals the iterator. None, or NULL and an exception. */
PyObject *pc_crowd_stream_run(struct pc_call *call, struct pc_responder *to, PyObject *iterator);

/* Steals the asynchronous generator; the coroutine that takes what it yields, to be handed to the loop. */
PyObject *pc_crowd_stream_pump(struct pc_call *call, PyObject *source);

/* The call's answer. Steals the result; one that is no stream is refused. */
enum pc_next pc_crowd_stream_end(struct pc_call *call, struct pc_responder *to, PyObject *result);
void pc_crowd_stream_free(struct pc_call *call);

/* On the main thread, what the VM says of a stream: whether its call runs. It may have ended, or not have begun. */
bool pc_crowd_stream_hear(struct pc_crowd *c, int64_t kind, uint64_t id, int64_t credit);

/* Whoever waits in a thread for credit looks up; of a call that is no stream nobody does. */
void pc_crowd_stream_ring(struct pc_call *call);

/* Nothing more is sent or read. */
void pc_crowd_streams_close(struct pc_crowd *c);

#endif
