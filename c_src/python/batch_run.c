/*
 * What calling a batch does. Each call ends by itself, in a value or in an exception, but an interrupt ends them all: it is raised in the tool
 * that runs, leaves it as pitcrew.Cancelled, and so is the exception of the whole batch.
 *
 * References: while the tool of a call runs, that call's arguments belong to this code alone, so that they go when it has returned.
 */

#include "batch_run.h"
#include "guard.h"
#include "respond.h"
#include "wire/clock.h"

/* ---- One call at a time */

void pc_batch_settle(struct pc_batch_item *item, PyObject *result, PyObject *exception) {
    Py_XSETREF(item->what, result != NULL ? result : exception);
    item->state = result == NULL ? PC_BATCH_RAISED : PyCoro_CheckExact(result) ? PC_BATCH_AWAITED : PC_BATCH_DONE;
}

bool pc_batch_must_stop(const struct pc_batch *b) {
    if (PyErr_CheckSignals() < 0 || pc_respond_forked() < 0) {
        return true;
    }
    if (b->deadline_ns != PC_NO_DEADLINE && pc_clock_ns() > b->deadline_ns) {
        PyErr_SetString(pc_Cancelled, "nobody waits for the batch any longer");
        return true;
    }
    return false;
}

static PyObject *call(PyObject *tool, struct pc_batch_item *item) {
    PyObject *values = item->what, *names = item->kwnames;
    item->what = item->kwnames = NULL;
    size_t n = (size_t)PyTuple_GET_SIZE(values) - (names == NULL ? 0 : (size_t)PyTuple_GET_SIZE(names));
    PyObject *result = PyObject_Vectorcall(tool, ((PyTupleObject *)values)->ob_item, n, names);
    Py_DECREF(values);
    Py_XDECREF(names);
    return result;
}

bool pc_batch_is_over(void) {
    return pc_respond_forked() < 0 || (PyErr_Occurred() != NULL && PyErr_ExceptionMatches(pc_Cancelled));
}

/* How many coroutines there are to be awaited, or -1. */
static Py_ssize_t call_each(struct pc_batch *b) {
    Py_ssize_t awaited = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct pc_batch_item *item = &b->items[i];
        if (item->state != PC_BATCH_WAITS) {
            continue;
        }
        if (pc_batch_must_stop(b)) {
            return -1;
        }
        PyObject *result = call(b->tool, item);
        if (pc_batch_is_over()) {
            Py_XDECREF(result);
            return -1;
        }
        pc_batch_settle(item, result, result == NULL ? pc_exception_take() : NULL);
        awaited += item->state == PC_BATCH_AWAITED;
    }
    return awaited;
}

static PyObject *coroutines_of(const struct pc_batch *b, Py_ssize_t n) {
    PyObject *list = PyList_New(n);
    Py_ssize_t at = 0;
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        if (b->items[i].state == PC_BATCH_AWAITED) {
            PyList_SET_ITEM(list, at++, Py_NewRef(b->items[i].what));
        }
    }
    return list;
}

PyObject *pc_batch_wait(struct pc_batch *b, enum pc_lazy which, PyObject *coroutines) {
    PyObject *wait = coroutines == NULL ? NULL : pc_lazy_get(which);
    PyObject *coroutine = wait == NULL ? NULL : PyObject_CallFunctionObjArgs(wait, b, coroutines, NULL);
    Py_XDECREF(coroutines);
    return coroutine;
}

/* A coroutine that nobody will await is closed, so that it does not complain. */
static void close_coroutines(struct pc_batch *b) {
    PyObject *exception = pc_exception_take();
    for (size_t i = 0; !pc_guard_forked() && i < b->count; i++) {
        if (b->items[i].state == PC_BATCH_AWAITED) {
            PyObject *closed = PyObject_CallMethod(b->items[i].what, "close", NULL);
            Py_XDECREF(closed);
            PyErr_Clear();
        }
    }
    pc_exception_restore(exception);
}

static PyObject *run_each(struct pc_batch *b) {
    Py_ssize_t awaited = call_each(b);
    if (awaited < 0) {
        close_coroutines(b);
        return NULL;
    }
    return awaited == 0 ? Py_NewRef((PyObject *)b) : pc_batch_wait(b, PC_LAZY_BATCH_EACH, coroutines_of(b, awaited));
}

/* ---- The type */

static int resolve(struct pc_batch *b) {
    if (!b->is_unresolved) {
        return 0;
    }
    PyObject *tool = PyObject_CallNoArgs(b->tool);
    if (tool == NULL) {
        return -1;
    }
    Py_SETREF(b->tool, tool);
    b->is_unresolved = false;
    return 0;
}

static PyObject *batch_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)args;
    (void)kwargs;
    struct pc_batch *b = (struct pc_batch *)self;
    if (resolve(b) < 0) {
        return NULL;
    }
    return b->at_once ? pc_batch_run_at_once(b) : run_each(b);
}

/* settle(outcomes): pairs of whether it has returned, and what, for the coroutines in their order. */
static PyObject *batch_settle(PyObject *self, PyObject *outcomes) {
    struct pc_batch *b = (struct pc_batch *)self;
    Py_ssize_t at = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct pc_batch_item *item = &b->items[i];
        if (item->state != PC_BATCH_AWAITED) {
            continue;
        }
        PyObject *what;
        int returned;
        PyObject *outcome = PyList_GetItem(outcomes, at++);
        if (outcome == NULL || !PyArg_ParseTuple(outcome, "pO", &returned, &what)) {
            return NULL;
        }
        Py_XSETREF(item->what, Py_NewRef(what));
        item->state = returned ? PC_BATCH_DONE : PC_BATCH_RAISED;
    }
    return Py_NewRef(Py_None);
}

static PyObject *batch_spread(PyObject *self, PyObject *result) {
    return pc_batch_spread((struct pc_batch *)self, result) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *batch_fail(PyObject *self, PyObject *exception) {
    pc_batch_fail((struct pc_batch *)self, Py_NewRef(exception));
    return Py_NewRef(Py_None);
}

/* An exception may lead to a frame that leads to the batch. */
static int batch_traverse(PyObject *self, visitproc visit, void *arg) {
    struct pc_batch *b = (struct pc_batch *)self;
    Py_VISIT(b->tool);
    for (size_t i = 0; i < b->count; i++) {
        Py_VISIT(b->items[i].what);
        Py_VISIT(b->items[i].kwnames);
    }
    return 0;
}

static int batch_clear(PyObject *self) {
    struct pc_batch *b = (struct pc_batch *)self;
    Py_CLEAR(b->tool);
    for (size_t i = 0; i < b->count; i++) {
        Py_CLEAR(b->items[i].what);
        Py_CLEAR(b->items[i].kwnames);
    }
    return 0;
}

static void batch_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    (void)batch_clear(self);
    PyMem_Free(((struct pc_batch *)self)->items);
    PyObject_GC_Del(self);
}

static PyMethodDef methods[] = {
    {"settle", batch_settle, METH_O, NULL},
    {"spread", batch_spread, METH_O, NULL},
    {"fail", batch_fail, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject batch_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew._core.Batch",
    .tp_doc = "The calls of one frame. Private.",
    .tp_basicsize = sizeof(struct pc_batch),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = batch_traverse,
    .tp_clear = batch_clear,
    .tp_dealloc = batch_dealloc,
    .tp_call = batch_call,
    .tp_methods = methods,
};

int pc_batch_init(void) { return PyType_Ready(&batch_type); }

bool pc_batch_is(PyObject *value) { return Py_IS_TYPE(value, &batch_type); }

struct pc_batch *pc_batch_new(const struct pc_batch_tool *of, size_t n) {
    struct pc_batch_item *items = PyMem_Calloc(n, sizeof *items);
    struct pc_batch *b = items == NULL ? NULL : PyObject_GC_New(struct pc_batch, &batch_type);
    if (b == NULL) {
        PyMem_Free(items);
        return (struct pc_batch *)PyErr_NoMemory();
    }
    b->tool = Py_NewRef(of->tool);
    b->is_unresolved = of->is_unresolved;
    b->at_once = of->at_once;
    b->deadline_ns = PC_NO_DEADLINE;
    b->count = n;
    b->items = items;
    PyObject_GC_Track((PyObject *)b);
    return b;
}

void pc_batch_set_deadline(PyObject *batch, int64_t at_ns) { ((struct pc_batch *)batch)->deadline_ns = at_ns; }
