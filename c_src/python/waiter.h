#ifndef PC_PYTHON_WAITER_H
#define PC_PYTHON_WAITER_H

/*
 * Whoever waits for what a function of the VM gives, until its answer is read, by whoever reads the call channel, or the call that the function
 * came with has ended. Everything with the GIL; not for a process that a tool forked.
 */

#include <stdbool.h>

#include "core.h"
#include "decode.h"

enum pc_waiter_state { PC_WAITER_WAITS, PC_WAITER_ANSWERED, PC_WAITER_ENDED };

struct pc_waiter {
    uint64_t id;   /* of its frame; given by pc_waiter_begin */
    uint64_t call; /* that the function came with */
    enum pc_waiter_state state;
    bool told;                         /* that its call has ended */
    PyObject *result, *exception;      /* owned: one of them, once it is answered */
    void (*wake)(struct pc_waiter *w); /* its state has changed; or NULL. It may end the waiter */
    struct pc_waiter *next;
};

/* In a list from here to pc_waiter_end, whatever comes of it; the memory is the caller's. */
void pc_waiter_begin(struct pc_waiter *w, uint64_t call, void (*wake)(struct pc_waiter *w));
void pc_waiter_end(struct pc_waiter *w);

/* The id of a frame that nobody waits for. */
uint64_t pc_waiter_spare_id(void);

/* What it has come to: a new reference, or NULL with an exception; also where it has not ended, with the exception that is set. */
PyObject *pc_waiter_take(struct pc_waiter *w);

/* The same as the outcome of a future of asyncio's: a result, or else an exception. None, or NULL. */
PyObject *pc_waiter_settle(PyObject *future, PyObject *result, PyObject *exception);

/*
 * A frame reply or error of the VM's, whose reader stands behind the id. What nobody waits for is dropped. Never raises. Python may run: what is read
 * must be nobody else's.
 */
void pc_waiter_hear(struct pc_decoder *d, int64_t kind, uint64_t id);

/* Those of a call have nothing to wait for any more, all of them before the first is woken; with `all' nobody has. */
void pc_waiter_end_call(uint64_t call, bool all);
/* Those of a call look up. */
void pc_waiter_ring(uint64_t call);

/* The exception of a function whose call has ended. */
void pc_waiter_raise_gone(void);

#endif
