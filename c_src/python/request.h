#ifndef PC_PYTHON_REQUEST_H
#define PC_PYTHON_REQUEST_H

#include "answer.h"
#include "args.h"

/* Where names are looked up; borrowed. */
struct pc_tools {
    PyObject *
        known; /* dict: name -> (callable, dict or None), and of a tool that takes batches at once a third, the dict of its elements */
    PyObject *missing; /* callable(name) -> (callable, whether that returns what is to be called) or None; or NULL */
};

/* A call frame, while it is being worked on. */
struct pc_request {
    struct pc_question from;
    PyObject *name;     /* owned */
    PyObject *tool;     /* owned: the callable */
    bool is_unresolved; /* the tool is to be called without arguments first, and returns the callable */
    PyObject *binary;   /* owned: dict, or NULL */
    PyObject *elements; /* owned: the same of a batch that the tool takes at once: dict or None; or NULL */
    uint64_t session;   /* 0 for none */
    PyObject *trace;    /* owned: a pair of traceparent and tracestate, str and str or None (context.h); or NULL */
    int64_t credit;     /* of a stream; 0: it is none */
    struct pc_args args;
    bool borrows;        /* something in the arguments is a loan (loans.h) */
    bool skipped;        /* not all of the arguments was decoded */
    int64_t deadline_ns; /* or PC_NO_DEADLINE */
};

void pc_request_init(struct pc_request *q, const struct pc_question *from);
void pc_request_clear(struct pc_request *q);

/*
 * Reads what follows the id: tool, args, kwargs, meta, and the deadline behind it. A tool that is not there is no failure:
 * q->tool stays NULL and nothing after its name is read. Fails like pc_args_read, or with what `missing` raised.
 */
int pc_request_read(struct pc_request *q, struct pc_decoder *d, const struct pc_tools *tools);

/* The same of a whole frame in JSON, whose head has been read. Fails with DecodeError, its path complete, ProtocolError, or what `missing` raised. */
int pc_request_read_json(struct pc_request *q, const uint8_t *payload, size_t n, unsigned max_depth,
                         const struct pc_tools *tools);

/* The tool has returned: what its arguments have in segments goes back to the VM before the answer, so that the next call can have it. */
void pc_request_return(struct pc_request *q);

/* What the tool returns, called in the session that the call belongs to, and in its trace; or got first, as an import is a part of its call. */
PyObject *pc_request_call(struct pc_request *q);

#endif
