#ifndef PC_PYTHON_REFS_H
#define PC_PYTHON_REFS_H

/*
 * Objects that stay here and that the VM refers to (docs/protocol.md, section 1, References): by the call whose answer they were in, and
 * their place among the references of that answer. Each is kept until the VM says that it may go. With the GIL.
 */

#include "encoder.h"

/* The references in the answer to a call, as they are met; `objects` is a list, or NULL as long as there is none. */
struct pc_refs_out {
    uint64_t call;
    PyObject *objects; /* owned */
};

/* A pitcrew.Ref: 0, -1, or 1 when the value is none. Only where the options have a place for it. */
int pc_ref_write(struct pc_encoder *e, PyObject *value);

/* The answer is complete: its objects are kept. */
int pc_refs_keep(const struct pc_refs_out *out);

/* The object that a payload refers to; a DecodeError when it is not there. */
PyObject *pc_ref_read(const uint8_t *payload, uint32_t n);

/* One of an answer's objects may go, or with a negative index all of them. What is not there is not missed. */
int pc_refs_drop(uint64_t call, int64_t index);

/* Module function live_refs() -> int: how many there are. */
PyObject *pc_refs_count(PyObject *module, PyObject *none);

#endif
