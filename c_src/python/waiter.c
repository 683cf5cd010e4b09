/* See waiter.h. A list: few wait at a time. */

#include "waiter.h"

#include "lazy.h"
#include "wire/kinds.h"

static struct pc_waiter *first;
static uint64_t last_id;

void pc_waiter_begin(struct pc_waiter *w, uint64_t call, void (*wake)(struct pc_waiter *w)) {
    *w = (struct pc_waiter){.id = ++last_id, .call = call, .state = PC_WAITER_WAITS, .wake = wake, .next = first};
    first = w;
}

uint64_t pc_waiter_spare_id(void) { return ++last_id; }

void pc_waiter_end(struct pc_waiter *w) {
    struct pc_waiter **place = &first;
    while (*place != w) {
        place = &(*place)->next;
    }
    *place = w->next;
    Py_CLEAR(w->result);
    Py_CLEAR(w->exception);
}

/* pitcrew.ElixirError, of a map as error frames have it. */
static PyObject *make_error(PyObject *map) {
    PyObject *make = pc_lazy_get(PC_LAZY_MAKE_ELIXIR_ERROR);
    return make == NULL ? NULL : PyObject_CallOneArg(make, map);
}

void pc_waiter_raise_gone(void) {
    PyObject *map = Py_BuildValue("{ssss}", "kind", "gone", "message",
                                  "the function can be called only while the call that it came with runs");
    PyObject *error = map == NULL ? NULL : make_error(map);
    Py_XDECREF(map);
    pc_exception_restore(error);
}

PyObject *pc_waiter_take(struct pc_waiter *w) {
    if (w->state == PC_WAITER_ANSWERED) {
        PyObject *result = w->result;
        PyObject *exception = w->exception;
        w->result = w->exception = NULL;
        if (result == NULL) {
            pc_exception_restore(exception);
        }
        return result;
    }
    if (w->state == PC_WAITER_ENDED) {
        pc_waiter_raise_gone();
    }
    return NULL;
}

PyObject *pc_waiter_settle(PyObject *future, PyObject *result, PyObject *exception) {
    PyObject *set = PyObject_GetAttrString(future, result != NULL ? "set_result" : "set_exception");
    PyObject *done = set == NULL ? NULL : PyObject_CallOneArg(set, result != NULL ? result : exception);
    Py_XDECREF(set);
    return done;
}

/* ---- Answers */

/* Value or error, behind python_ns. */
static PyObject *read_answer(struct pc_decoder *d, int64_t kind, PyObject **exception) {
    int64_t python_ns;
    if (pc_read_int(&d->r, &python_ns) != PC_OK) {
        PyErr_SetString(pc_ProtocolError, "the answer to a call of a function has no value");
        return NULL;
    }
    d->owed = 1;
    PyObject *value = pc_decode_value(d);
    if (value == NULL) {
        pc_path_complete(&d->path, "result");
        return NULL;
    }
    if (kind != PC_KIND_ERROR) {
        return value;
    }
    *exception = make_error(value);
    Py_DECREF(value);
    return NULL;
}

/* Who waits for this answer. */
static struct pc_waiter *find(uint64_t id) {
    struct pc_waiter *w = first;
    while (w != NULL && w->id != id) {
        w = w->next;
    }
    return w != NULL && w->state == PC_WAITER_WAITS ? w : NULL;
}

static void wake(struct pc_waiter *w) {
    if (w->wake != NULL) {
        w->wake(w);
    }
}

/* Decoding may run Python, and whoever waited may be gone afterwards: nobody sees an answer before it is there. */
static void answer(struct pc_decoder *d, int64_t kind, uint64_t id) {
    PyObject *exception = NULL;
    PyObject *result = read_answer(d, kind, &exception);
    if (result == NULL && exception == NULL) {
        exception = pc_exception_take();
    }
    struct pc_waiter *w = find(id);
    if (w == NULL) {
        Py_XDECREF(result);
        Py_XDECREF(exception);
        return;
    }
    w->result = result;
    w->exception = exception;
    w->state = PC_WAITER_ANSWERED;
    wake(w);
}

void pc_waiter_hear(struct pc_decoder *d, int64_t kind, uint64_t id) {
    if (find(id) == NULL) {
        return;
    }
    PyObject *before = pc_exception_take();
    answer(d, kind, id);
    pc_exception_restore(before);
}

/* ---- Ends */

static void mark_ended(uint64_t call, bool all) {
    for (struct pc_waiter *w = first; w != NULL; w = w->next) {
        if (w->state == PC_WAITER_WAITS && (all || w->call == call)) {
            w->state = PC_WAITER_ENDED;
        }
    }
}

static struct pc_waiter *find_untold(uint64_t call, bool all) {
    struct pc_waiter *w = first;
    while (w != NULL && (w->state != PC_WAITER_ENDED || w->told || !(all || w->call == call))) {
        w = w->next;
    }
    return w;
}

/*
 * Waking one may run Python. So none is left by then that waits for a call that has ended, and each time one is looked for from the beginning: any may be
 * gone.
 */
void pc_waiter_end_call(uint64_t call, bool all) {
    struct pc_waiter *w;
    mark_ended(call, all);
    while ((w = find_untold(call, all)) != NULL) {
        w->told = true;
        wake(w);
    }
}

void pc_waiter_ring(uint64_t call) {
    for (struct pc_waiter *w = first; w != NULL; w = w->next) {
        if (w->call == call && w->state == PC_WAITER_WAITS) {
            wake(w);
        }
    }
}
