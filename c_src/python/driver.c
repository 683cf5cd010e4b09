/*
 * References: a driver owns its coroutine and its task until the coroutine has ended; the task owns the driver. So the two are a
 * cycle, which the end of the coroutine breaks.
 */

#include "driver.h"

#include <stddef.h>

#include "guard.h"
#include "lazy.h"
#include "turn.h"

struct driver {
    PyObject_HEAD PyObject *coroutine; /* NULL: it has ended */
    PyObject *task;                    /* NULL: it has not begun, or has ended */
    PyObject *loop;
    uint64_t id;
    unsigned interrupts; /* that the coroutine has not seen */
    bool steps;          /* its code runs */
    pc_driver_ended ended;
    void *whose;
};

static PyTypeObject driver_type;
static unsigned stepping; /* drivers whose coroutines' code is on the stack of the loop's thread */

/* ---- The end */

/* Steals the result; NULL: an exception is set. The last thing that anybody does with `ended`. */
static void finish(struct driver *d, PyObject *result) {
    Py_CLEAR(d->coroutine);
    PyObject *exception = result == NULL ? pc_exception_take() : NULL;
    Py_CLEAR(d->task);
    Py_CLEAR(d->loop);
    pc_exception_restore(exception);
    d->ended(d->whose, result);
    PyErr_Clear();
}

/* ---- Steps */

/* What a step that raised has come to: the value of a StopIteration, stored; or the exception stays. */
static PySendResult outcome(PyObject **result) {
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = pc_exception_take();
    *result = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* One step of the coroutine: sends None or throws. Returns what it waits for; or NULL, without an exception once it has ended. */
static PyObject *step(struct driver *d, PyObject *exception) {
    if (d->coroutine == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the coroutine has ended");
        return NULL;
    }
    PyObject *result = NULL;
    uint64_t outer = d->id != 0 ? pc_turn_step(d->id) : 0;
    d->steps = true;
    stepping++;
    PySendResult how;
    if (exception == NULL) {
        how = PyIter_Send(d->coroutine, Py_None, &result);
    } else {
        result = PyObject_CallMethod(d->coroutine, "throw", "O", exception);
        how = outcome(&result);
    }
    d->steps = false;
    stepping--;
    bool told = d->id != 0 && !pc_guard_forked();
    if (told) {
        (void)pc_turn_step(outer);
    }
    if (how != PYGEN_NEXT) {
        finish(d, result);
        return NULL;
    }
    if (told && pc_turn_missed(d->id) && pc_driver_interrupt((PyObject *)d, true) < 0) {
        PyErr_Clear();
    }
    return result;
}

static PyObject *driver_next(PyObject *self) { return step((struct driver *)self, NULL); }

static PyObject *driver_send(PyObject *self, PyObject *value) {
    (void)value; /* a task sends None */
    PyObject *result = step((struct driver *)self, NULL);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* The task's own cancellation, when it is the VM's, as tools know it. A new reference. */
static PyObject *translated(struct driver *d, PyObject *exception) {
    if (d->interrupts == 0 || pc_lazy_is(exception, PC_LAZY_CANCELLED_ERROR) <= 0) {
        PyErr_Clear();
        return Py_NewRef(exception);
    }
    d->interrupts--;
    PyObject *class = pc_lazy_get(PC_LAZY_CANCELLED);
    return class == NULL ? NULL : PyObject_CallFunction(class, "s", "the call was cancelled");
}

static PyObject *driver_throw(PyObject *self, PyObject *args) {
    struct driver *d = (struct driver *)self;
    PyObject *exception, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO:throw", &exception, &value, &traceback)) {
        return NULL;
    }
    exception = translated(d, value != NULL && PyExceptionInstance_Check(value) ? value : exception);
    PyObject *result = exception == NULL ? NULL : step(d, exception);
    Py_XDECREF(exception);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

static PyObject *driver_close(PyObject *self, PyObject *unused) {
    (void)unused;
    struct driver *d = (struct driver *)self;
    return d->coroutine == NULL ? Py_NewRef(Py_None) : PyObject_CallMethod(d->coroutine, "close", NULL);
}

/* ---- Interrupts */

PyObject *pc_driver_cancelled(void) { return stepping > 0 ? pc_lazy_get(PC_LAZY_CANCELLED) : pc_Cancelled; }

bool pc_driver_steps(PyObject *driver) { return ((struct driver *)driver)->steps; }

/* On the loop's thread. */
static PyObject *driver_cancel(PyObject *self, PyObject *unused) {
    (void)unused;
    struct driver *d = (struct driver *)self;
    if (d->task == NULL) {
        return Py_NewRef(Py_None);
    }
    d->interrupts++;
    return PyObject_CallMethod(d->task, "cancel", NULL);
}

int pc_driver_interrupt(PyObject *driver, bool waits) {
    struct driver *d = (struct driver *)driver;
    if (d->coroutine == NULL || d->loop == NULL || (d->steps && !waits)) {
        return 0;
    }
    PyObject *loop = Py_NewRef(d->loop); /* it may end meanwhile */
    PyObject *cancel = PyObject_GetAttrString(driver, "cancel");
    PyObject *done = cancel == NULL ? NULL : PyObject_CallMethod(loop, "call_soon_threadsafe", "O", cancel);
    Py_DECREF(loop);
    Py_XDECREF(cancel);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- The type */

static int driver_traverse(PyObject *self, visitproc visit, void *arg) {
    struct driver *d = (struct driver *)self;
    Py_VISIT(d->coroutine);
    Py_VISIT(d->task);
    Py_VISIT(d->loop);
    return 0;
}

static int driver_clear(PyObject *self) {
    struct driver *d = (struct driver *)self;
    Py_CLEAR(d->task);
    Py_CLEAR(d->loop);
    return 0;
}

static void driver_dealloc(PyObject *self) {
    struct driver *d = (struct driver *)self;
    PyObject_GC_UnTrack(self);
    (void)driver_clear(self);
    if (d->coroutine != NULL) {
        PyObject *exception = pc_exception_take();
        PyErr_SetString(PyExc_RuntimeError, "the event loop has dropped the coroutine");
        finish(d, NULL);
        pc_exception_restore(exception);
    }
    PyObject_GC_Del(self);
}

static PyMethodDef methods[] = {
    {"send", driver_send, METH_O, NULL},
    {"throw", driver_throw, METH_VARARGS, NULL},
    {"close", driver_close, METH_NOARGS, NULL},
    {"cancel", driver_cancel, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyAsyncMethods as_awaitable = {.am_await = PyObject_SelfIter};

static PyTypeObject driver_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew._core.Driver",
    .tp_doc = "A tool's coroutine, as its task sees it. Private.",
    .tp_basicsize = sizeof(struct driver),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = driver_dealloc,
    .tp_traverse = driver_traverse,
    .tp_clear = driver_clear,
    .tp_as_async = &as_awaitable,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = driver_next,
    .tp_methods = methods,
};

int pc_driver_init(void) { return PyType_Ready(&driver_type); }

PyObject *pc_driver_new(PyObject *coroutine, uint64_t id, pc_driver_ended ended, void *whose) {
    struct driver *d = PyObject_GC_New(struct driver, &driver_type);
    if (d == NULL) {
        Py_DECREF(coroutine);
        return NULL;
    }
    d->coroutine = coroutine;
    d->task = d->loop = NULL;
    d->id = id;
    d->interrupts = 0;
    d->steps = false;
    d->ended = ended;
    d->whose = whose;
    PyObject_GC_Track(d);
    return (PyObject *)d;
}

int pc_driver_start(PyObject *driver, PyObject *loop) {
    struct driver *d = (struct driver *)driver;
    Py_INCREF(driver); /* a task that begins at once may end, and then whoever has the driver lets go of it */
    d->loop = Py_NewRef(loop);
    PyObject *task = PyObject_CallMethod(loop, "create_task", "O", driver);
    int started = task == NULL ? -1 : 0;
    if (d->coroutine == NULL) { /* and has told of its end: what has become of the task is nobody's any more */
        PyErr_Clear();
        started = 1;
    } else {
        d->task = Py_XNewRef(task);
    }
    Py_XDECREF(task);
    Py_DECREF(driver);
    return started;
}

void pc_driver_fail(PyObject *driver) {
    PyObject *exception = pc_exception_take();
    PyObject *closed = driver_close(driver, NULL);
    Py_XDECREF(closed);
    PyErr_Clear();
    pc_exception_restore(exception);
    Py_INCREF(driver);
    finish((struct driver *)driver, NULL);
    Py_DECREF(driver);
}

PyObject *pc_driver_loop(void) {
    PyObject *make = pc_lazy_get(PC_LAZY_LOOP);
    return make == NULL ? NULL : PyObject_CallNoArgs(make);
}

/* ---- Given up */

static void drop(void *whose, PyObject *result) {
    (void)whose;
    Py_XDECREF(result);
}

PyObject *pc_driver_task(PyObject *driver) { return ((struct driver *)driver)->task; }

void pc_driver_abandon(PyObject *driver) {
    struct driver *d = (struct driver *)driver;
    PyObject *exception = pc_exception_take();
    PyObject *done = d->task == NULL ? driver_close(driver, NULL) : driver_cancel(driver, NULL);
    Py_XDECREF(done);
    PyErr_Clear();
    d->ended = drop;
    pc_exception_restore(exception);
}
