/* Coroutines where one call runs at a time: the loop runs until the coroutine has ended, and stands still between two calls. */

#include "driver.h"

static PyObject *alone; /* the driver of the call that runs; borrowed */

struct outcome {
    PyObject *result, *exception;
};

static void keep(void *whose, PyObject *result) {
    struct outcome *o = whose;
    o->result = result;
    o->exception = result == NULL ? pc_exception_take() : NULL;
}

PyObject *pc_driver_run(PyObject *coroutine) {
    struct outcome o = {NULL, NULL};
    PyObject *driver = pc_driver_new(coroutine, 0, keep, &o);
    PyObject *loop = driver == NULL ? NULL : pc_driver_loop();
    PyObject *ran = NULL;
    if (loop != NULL && pc_driver_start(driver, loop) == 0) {
        alone = driver;
        ran = PyObject_CallMethod(loop, "run_until_complete", "O", pc_driver_task(driver));
        alone = NULL;
    }
    if (ran == NULL && driver != NULL) { /* something else has come out of the loop, which goes before */
        pc_driver_abandon(driver);
        Py_CLEAR(o.result);
        Py_CLEAR(o.exception);
    } else {
        pc_exception_restore(o.exception);
    }
    Py_XDECREF(ran);
    Py_XDECREF(loop);
    Py_XDECREF(driver);
    return o.result;
}

bool pc_driver_runs(void) { return alone != NULL; }

int pc_driver_interrupt_run(void) {
    if (alone == NULL || pc_driver_steps(alone)) {
        return 0;
    }
    return pc_driver_interrupt(alone, false) < 0 ? -1 : 1;
}
