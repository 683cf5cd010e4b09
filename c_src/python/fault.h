#ifndef PC_PYTHON_FAULT_H
#define PC_PYTHON_FAULT_H

/* Error frames (docs/protocol.md, Kinds): what went wrong with one call, told to the caller; the worker goes on. */

#include "answer.h"
#include "core.h"

struct pc_fault {
    const char *kind;                            /* one of the words that protocol.md lists */
    PyObject *type, *message, *traceback, *path; /* str, str, str, tuple; owned; NULL is nil */
};

/*
 * Takes the exception that is set. The text comes from pitcrew/fault.py, which is imported here for the first time and
 * bounds it; the traceback is told for tool_error only. Never fails: what cannot be told is left out.
 */
void pc_fault_take(struct pc_fault *f, const char *kind);

/* The same of a pc_Refused, which brings its kind and its message. */
void pc_fault_take_refusal(struct pc_fault *f);

/* A message without an exception. Steals message; NULL (with an exception, which is dropped) gives an empty one. */
void pc_fault_say(struct pc_fault *f, const char *kind, PyObject *message);

/* The message of unknown_tool, with close matches; NULL with an exception. */
PyObject *pc_fault_unknown_tool(PyObject *name, PyObject *tools);

/* Appends the map of an error, or releases the fault. Where there is no room the writer has failed. */
void pc_fault_write_map(const struct pc_fault *f, struct pc_answer *a);
void pc_fault_release(struct pc_fault *f);

/* Appends the error frame and releases the fault. */
int pc_fault_write(struct pc_fault *f, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                   int64_t python_ns);

#endif
