#ifndef PC_PORT_STREAM_H
#define PC_PORT_STREAM_H

/* The reading end of a process's descriptor 1 or 2. Its lines go to the output, with or without credit, or are dropped if there are too many. */

#include <stdint.h>

#include "output.h"
#include "rate.h"

struct pc_stream {
    int fd; /* -1 when closed */
    uint32_t wid;
    uint8_t which;
    struct pc_rate rate;
    struct pc_splitter splitter;
};

/* Takes the descriptor over, and makes it nonblocking. */
void pc_stream_open(struct pc_stream *s, int fd, uint32_t wid, uint8_t which);

/* Reads once. At end of file the last line is flushed and the stream closes. */
void pc_stream_read(struct pc_stream *s, struct pc_output *o);

/* The process has ended: takes what is there, as much as a pipe holds, and closes, whoever else may hold the other end. */
void pc_stream_finish(struct pc_stream *s, struct pc_output *o);

#endif
