#ifndef PC_PYTHON_STREAM_ASYNC_H
#define PC_PYTHON_STREAM_ASYNC_H

/* Asynchronous generators as streams: a coroutine (pitcrew/aio.py) takes what they yield and gives it to the stream. */

#include "stream.h"

/*
 * The coroutine, for the event loop. It ends with None, or raises what the generator did, or why a chunk could not be sent. Where there is no
 * credit it awaits `wait(on)`, which both are borrowed. *handle is what it has of the stream, owned by the caller; without it the
 * stream is not touched any more, however long the coroutine lives.
 */
PyObject *pc_stream_pump(struct pc_stream *st, PyObject *source, PyObject *wait, PyObject *on, PyObject **handle);

/* Steals the handle, which may be NULL. Keeps an exception. */
void pc_stream_detach(PyObject *handle);

#endif
