#ifndef PC_PYTHON_FUNCTION_H
#define PC_PYTHON_FUNCTION_H

/*
 * pitcrew.Function: a function of the VM's that came in the arguments of a call, and can be called from Python as long as that call runs, or a tool of the
 * VM's, which is known by its name (docs/protocol.md, section 3, Functions). How it waits for what comes back depends on what the worker runs: function_alone.h, crowd_function.h.
 */

#include <stdbool.h>

#include "core.h"
#include "wire/io.h"

struct pc_function {
    PyObject_HEAD vectorcallfunc vectorcall;
    uint64_t call;  /* that it came with; of a tool, in which it was named, or 0 */
    uint64_t index; /* among the functions of that call */
    PyObject *name; /* owned: of a tool; or NULL */
};

extern PyTypeObject pc_Function_Type;

/* Who runs the calls of this worker; set while it serves. */
struct pc_caller {
    size_t max_frame;
    unsigned max_depth;
    /* Whether the call runs. */
    bool (*runs)(uint64_t call);
    /* The call that runs, where there can be only one; or 0. */
    uint64_t (*only)(void);
    /* `f' may be a copy of one, whose call it is. Sends the frame, made by pc_function_write, and gives what comes back, or something to be awaited. */
    PyObject *(*call)(const struct pc_function *f, PyObject *args, PyObject *kwargs);
    /* Sends such a frame as far as that needs no wait, the rest later; nobody waits for what comes back. -1 with an exception. */
    int (*tell)(const struct pc_function *f, PyObject *args);
};

int pc_function_init(PyObject *module);

/* NULL: nothing is served any more. Not a copy. */
void pc_function_serve(const struct pc_caller *caller);

/* From the payload of extension 12, in the arguments of a call. */
PyObject *pc_function_read(uint64_t call, const uint8_t *payload, uint32_t n);

/* From that of extension 16: a pitcrew.Iterator around such a function. */
PyObject *pc_function_read_iterator(uint64_t call, const uint8_t *payload, uint32_t n);

/* Module function: tell(function, args): calls a function without waiting for what comes of it, from anywhere, finalizers too. When its call has ended, nothing happens. */
PyObject *pc_function_tell(PyObject *module, PyObject *args);

/* Module function: vm_tool(name) -> Function: the tool of the VM's with that name, for the call that runs here, or whichever does when it is called. */
PyObject *pc_function_tool(PyObject *module, PyObject *name);

/* Appends the frame of one call of it, with this id; kwargs may be NULL. -1 with an exception, and nothing is left of it. */
int pc_function_write(struct pc_outbox *out, const struct pc_function *f, uint64_t id, bool waits, PyObject *args,
                      PyObject *kwargs);

#endif
