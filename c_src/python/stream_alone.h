#ifndef PC_PYTHON_STREAM_ALONE_H
#define PC_PYTHON_STREAM_ALONE_H

/* Streams where one call runs at a time. */

#include "serving.h"

/* The call of `q` has returned a value, which is stolen, in so much time: its chunks are sent, and then its end. */
enum pc_next pc_stream_alone(struct pc_server *s, struct pc_request *q, PyObject *value, int64_t python_ns);

/* For serving.h: whether it is about the stream that runs. */
bool pc_stream_alone_hear(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit);

#endif
