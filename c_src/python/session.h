#ifndef PC_PYTHON_SESSION_H
#define PC_PYTHON_SESSION_H

/*
 * The session that a call belongs to, and what sessions keep here. Which one it is lies in a context variable, so that calls which run at
 * once in threads or on an event loop each have their own. With the GIL.
 */

#include "core.h"

int pc_session_init(void);

/* Code that runs from here on in this context belongs to the session; the result is for pc_session_leave. */
PyObject *pc_session_enter(uint64_t id);

/* Whether or not an exception is set; steals what enter returned. */
void pc_session_leave(PyObject *token);

/* Code that runs from here on in this context belongs to none. -1 with an exception. */
int pc_session_hide(void);

/* The session has ended: what it keeps goes. */
int pc_session_drop(uint64_t id);

/* Module functions: session_id() -> int; session_state() -> dict. A RuntimeError outside of any session. */
PyObject *pc_session_id(PyObject *module, PyObject *none);
PyObject *pc_session_state(PyObject *module, PyObject *none);
/* live_sessions() -> int: how many keep something. */
PyObject *pc_session_count(PyObject *module, PyObject *none);

#endif
