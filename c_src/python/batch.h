#ifndef PC_PYTHON_BATCH_H
#define PC_PYTHON_BATCH_H

/*
 * Many calls of one tool in one frame (docs/protocol.md, section 1, Batches). A batch is an object that is called in the tool's place, without
 * arguments, and that is its own result: what became of each call is in it, and batch_answer.c writes that. With the GIL.
 */

#include "args.h"

/* What the calls of a batch are of; all borrowed. */
struct pc_batch_tool {
    PyObject *tool;
    bool is_unresolved; /* as in a request */
    PyObject *binary;   /* what is binary in the arguments of one call: dict or NULL */
    bool at_once;       /* the tool is called once, with a list */
};

/* What has become of one call. */
enum pc_batch_state {
    PC_BATCH_WAITS,   /* `what` is a tuple of positional arguments and then of those by name */
    PC_BATCH_AWAITED, /* a coroutine */
    PC_BATCH_DONE,    /* what it returned */
    PC_BATCH_RAISED,  /* the exception */
    PC_BATCH_REFUSED, /* likewise, of arguments that could not be read */
};

struct pc_batch_item {
    PyObject *what;    /* owned; NULL while the tool has the arguments */
    PyObject *kwnames; /* owned: tuple, or NULL */
    enum pc_batch_state state;
};

struct pc_batch {
    PyObject ob_base;
    PyObject *tool; /* owned */
    bool is_unresolved, at_once;
    int64_t deadline_ns; /* calls that have not begun then never do */
    size_t count;
    struct pc_batch_item *items; /* owned */
};

int pc_batch_init(void);

/* Of so many calls, all of them to be filled in. */
struct pc_batch *pc_batch_new(const struct pc_batch_tool *of, size_t n);

/* Whether a call's tool is that of batches, and whether a value is a batch. */
bool pc_batch_is_name(PyObject *name);
bool pc_batch_is(PyObject *value);

/* Reads how the arguments of such a call begin, and gives the name of the calls' tool. Fails as pc_args_read. */
PyObject *pc_batch_read_name(struct pc_decoder *d);

/*
 * Reads the rest of the arguments. A call whose arguments cannot become objects is refused alone; *skipped says whether there is one, so
 * that not all of the frame was decoded. Fails as pc_args_read.
 */
PyObject *pc_batch_read(struct pc_decoder *d, const struct pc_batch_tool *of, bool *skipped);

/* The name, borrowed, and the rest, from arguments that are objects already. Fails with ProtocolError. */
PyObject *pc_batch_take_name(PyObject *args);
PyObject *pc_batch_take(PyObject *args, const struct pc_batch_tool *of);

void pc_batch_set_deadline(PyObject *batch, int64_t at_ns);

/* What the tools have returned stays here: pitcrew.Refs take its place. */
int pc_batch_refer(PyObject *batch);

#endif
