/* See stream_async.h. The handle is a capsule around a pointer of its own, so that it can outlive the stream. */

#include "stream_async.h"

#include "lazy.h"
#include "wire/clock.h"

struct link {
    struct pc_stream *st; /* NULL: it has ended */
};

static void free_link(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, NULL)); }

static struct pc_stream *stream_of(PyObject *capsule) {
    struct link *link = PyCapsule_GetPointer(capsule, NULL);
    if (link->st == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the stream has ended");
    }
    return link->st;
}

/* True: go on. None: there is no credit. False: it is over. */
static PyObject *state(struct pc_stream *st) {
    if (pc_stream_raise(st)) {
        return NULL;
    }
    PyObject *found = pc_stream_is_over(st) ? Py_False : st->credit > 0 ? Py_True : Py_None;
    return Py_NewRef(found);
}

static PyObject *look(PyObject *capsule, PyObject *unused) {
    (void)unused;
    struct pc_stream *st = stream_of(capsule);
    if (st == NULL) {
        return NULL;
    }
    st->look(st, false);
    st->since = pc_clock_ns();
    return state(st);
}

static PyObject *put(PyObject *capsule, PyObject *chunk) {
    struct pc_stream *st = stream_of(capsule);
    if (st == NULL || pc_stream_put(st, chunk) < 0) {
        return NULL;
    }
    if (!pc_stream_goes(st)) {
        pc_stream_flush(st);
    }
    return state(st);
}

static PyObject *new_handle(struct pc_stream *st) {
    struct link *link = PyMem_Malloc(sizeof *link);
    if (link == NULL) {
        return PyErr_NoMemory();
    }
    link->st = st;
    PyObject *capsule = PyCapsule_New(link, NULL, free_link);
    if (capsule == NULL) {
        PyMem_Free(link);
    }
    return capsule;
}

PyObject *pc_stream_pump(struct pc_stream *st, PyObject *source, PyObject *wait, PyObject *on, PyObject **handle) {
    static PyMethodDef definitions[] = {{"put", put, METH_O, NULL}, {"look", look, METH_NOARGS, NULL}};
    PyObject *pump = pc_lazy_get(PC_LAZY_STREAM);
    *handle = pump == NULL ? NULL : new_handle(st);
    if (*handle == NULL) {
        return NULL;
    }
    PyObject *put_it = PyCFunction_New(&definitions[0], *handle);
    PyObject *look_again = PyCFunction_New(&definitions[1], *handle);
    PyObject *coroutine = put_it == NULL || look_again == NULL
                              ? NULL
                              : PyObject_CallFunctionObjArgs(pump, source, put_it, look_again, wait, on, NULL);
    Py_XDECREF(put_it);
    Py_XDECREF(look_again);
    return coroutine;
}

void pc_stream_detach(PyObject *handle) {
    if (handle != NULL) {
        ((struct link *)PyCapsule_GetPointer(handle, NULL))->st = NULL;
        Py_DECREF(handle);
    }
}
