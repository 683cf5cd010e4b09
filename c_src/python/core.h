#ifndef PC_PYTHON_CORE_H
#define PC_PYTHON_CORE_H

/*
 * What the files of pitcrew._core share.
 *
 * Reference rules, everywhere in this directory: a function that returns PyObject * returns a new reference, or NULL
 * with an exception set; int is 0, or -1 with an exception set; arguments are borrowed. Exceptions to this are said beside
 * the declaration. The GIL is held everywhere except between Py_BEGIN_ALLOW_THREADS and Py_END_ALLOW_THREADS,
 * and in the files that do not include this header, which know nothing of Python: side, turn, vitals, limits, records, hold,
 * published, guard, buffers, mark, launch, children, packets, tell.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030b0000
#error "Pitcrew needs Python 3.11 or later"
#endif

/* Exception classes, made once by pc_errors_init and kept for the life of the process. */
extern PyObject *pc_Error;         /* pitcrew.Error(Exception) */
extern PyObject *pc_EncodeError;   /* pitcrew.EncodeError(Error): .path (tuple, outermost first), .reason */
extern PyObject *pc_DecodeError;   /* pitcrew.DecodeError(Error): the same */
extern PyObject *pc_ProtocolError; /* pitcrew.ProtocolError(Error): the other end broke docs/protocol.md */
extern PyObject *pc_Refused;       /* pitcrew.Refused(Error): args are a kind of error and a message; private */
extern PyObject *pc_Cancelled;     /* pitcrew.Cancelled(BaseException): the VM has cancelled the call that runs */

int pc_errors_init(PyObject *module);

/* The exception that is set, normalised and with its traceback, which is then no longer set; NULL if there is none. */
PyObject *pc_exception_take(void);

/* Sets it again; NULL changes nothing. Steals the reference. */
void pc_exception_restore(PyObject *exception);

/* The name of a type as users write it: "decimal.Decimal", "int". */
PyObject *pc_type_name(PyTypeObject *type);

#endif
