#ifndef PC_PYTHON_CONTEXT_H
#define PC_PYTHON_CONTEXT_H

/*
 * What code finds of the call that it runs for in context variables: the session that it belongs to, and the trace that its caller is in (W3C's traceparent
 * and tracestate), which OpenTelemetry is told of, too, where it is installed. So calls that run at once in threads or on an event loop each have
 * their own. With the GIL.
 */

#include "request.h"

struct pc_context {
    PyObject *session, *trace, *attached; /* tokens, owned; NULL: nothing was changed */
};

/* Code that runs from here on in this context runs for that call. */
int pc_context_enter(const struct pc_request *q, struct pc_context *c);

/* After enter, whether or not an exception is set, which stays. */
void pc_context_leave(struct pc_context *c);

/* The variable of the trace, pitcrew._core.trace: a pair of traceparent and tracestate, each a str, the second of which may be None. */
int pc_context_init(PyObject *module);

/* Of that pair the first: a new reference, or NULL, without an exception where there is none. */
PyObject *pc_context_traceparent(void);

#endif
