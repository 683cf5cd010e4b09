#ifndef PC_PYTHON_BATCH_RUN_H
#define PC_PYTHON_BATCH_RUN_H

/* Between the files that run a batch: batch_run.c, which makes one call at a time, and batch_at_once.c. */

#include "batch.h"
#include "lazy.h"

/* What a call has returned, or else what it has raised. Steals both. */
void pc_batch_settle(struct pc_batch_item *item, PyObject *result, PyObject *exception);

/* Before a call: whether there is an exception, set now, that ends the batch. */
bool pc_batch_must_stop(const struct pc_batch *b);

/* After one: whether there is, be it what the call has raised. */
bool pc_batch_is_over(void);

/* The coroutine of pitcrew/batch.py that ends with the batch. Steals what it is to wait for, which may be NULL with an exception. */
PyObject *pc_batch_wait(struct pc_batch *b, enum pc_lazy which, PyObject *what);

/* The batch, or a coroutine that ends with it. */
PyObject *pc_batch_run_at_once(struct pc_batch *b);

/* Each call that waits gets its own of what the tool has returned. An exception in there is what that call has raised. */
int pc_batch_spread(struct pc_batch *b, PyObject *result);

/* All that wait have raised that, which is stolen. */
void pc_batch_fail(struct pc_batch *b, PyObject *exception);

#endif
