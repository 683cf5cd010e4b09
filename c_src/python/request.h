#ifndef PC_PYTHON_REQUEST_H
#define PC_PYTHON_REQUEST_H

#include "args.h"

/* A call frame, while it is being worked on. */
struct pc_request {
    uint64_t id;
    PyObject *name;   /* owned */
    PyObject *tool;   /* owned: the callable */
    PyObject *binary; /* owned: dict, or NULL */
    struct pc_args args;
};

void pc_request_init(struct pc_request *q, uint64_t id);
void pc_request_clear(struct pc_request *q);

/*
 * Reads what follows the id: tool, args, kwargs. `tools` is the dict that serve was given. A tool that is not there is no failure:
 * q->tool stays NULL and nothing after its name is read. Fails like pc_args_read.
 */
int pc_request_read(struct pc_request *q, struct pc_decoder *d, PyObject *tools);

#endif
