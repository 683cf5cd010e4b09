#ifndef PC_PYTHON_LOANS_H
#define PC_PYTHON_LOANS_H

/*
 * Segments of the VM's that a call speaks of (extension 15). Each is an object that exports its bytes as a buffer and lets the VM have the
 * segment back when it is deallocated: never in a child that a tool has forked, nor where such a child may still look at it.
 */

#include "decode.h"
#include "wire/segment_footer.h"

/* Those of one call. What is read twice, as maps are whose keys are equal, is one loan. */
struct pc_loans {
    PyObject *objects; /* owned: a list, or NULL */
};

/* What has not become part of an argument goes back. */
void pc_loans_clear(struct pc_loans *l);

/* A call's frame has not been decoded to its end: whatever it names goes back unless it is out. No exception, and one may be set. */
void pc_loans_decline(const uint8_t *payload, size_t n);

/* The value of the extension. A DecodeError, without a path, for a name that is wrong, or where no segment may be. */
PyObject *pc_loan_read(struct pc_decoder *d, const struct pc_token *t);

/* The same for an argument that is wanted as bytes or as a memoryview; what is no text and no bytes is read as ever. */
PyObject *pc_loan_read_as(struct pc_decoder *d, const struct pc_token *t, PyTypeObject *type);

/* The data of a tensor, as an object with a length whose buffer may be written to. */
PyObject *pc_loan_read_data(struct pc_loans *loans, const struct pc_token *t);

int pc_loans_init(void);

#endif
