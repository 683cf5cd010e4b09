#ifndef PC_PYTHON_OUTFLOW_H
#define PC_PYTHON_OUTFLOW_H

/*
 * Answers of many threads over one socket: whole frames, one after the other. What the socket takes goes out at once; the rest waits
 * here, until whoever waits for it, or the main thread, finds that there is room. Nothing is copied. All of it with the GIL.
 */

#include "core.h"
#include "wire/io.h"

struct pc_outflow {
    int fd;
    struct pc_outflow_part *first, *last;
    uint64_t put, sent; /* parts so far */
};

enum pc_flow { PC_FLOW_SENT, PC_FLOW_WAITS, PC_FLOW_GONE };

void pc_outflow_init(struct pc_outflow *f, int fd);
void pc_outflow_destroy(struct pc_outflow *f);

/* The frames that are in the outbox, which is empty afterwards. PC_FLOW_WAITS: not all has been sent. -1: no memory, an exception. */
int pc_outflow_put(struct pc_outflow *f, struct pc_outbox *out);

/* What the socket takes of all that waits. */
enum pc_flow pc_outflow_flush(struct pc_outflow *f);

/* Waits, without the GIL, until all has been sent that has been put by now. PC_FLOW_GONE: nobody reads it. -1: an exception. */
int pc_outflow_wait(struct pc_outflow *f);

#endif
