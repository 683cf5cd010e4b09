/*
 * Coroutines where one call runs at a time: the loop runs until the coroutine has ended, and stands still between two calls. A call inside of another one,
 * which may be a coroutine that waits, has another loop.
 */

#include "driver.h"
#include "lazy.h"

static PyObject *alone;  /* the driver of the call that runs; borrowed */
static PyObject *on;     /* the loop that it runs on; borrowed */
static unsigned outside; /* calls that wait for another one inside of them */

struct outcome {
    PyObject *result, *exception;
};

static void keep(void *whose, PyObject *result) {
    struct outcome *o = whose;
    o->result = result;
    o->exception = result == NULL ? pc_exception_take() : NULL;
}

/* One that does not run. */
static PyObject *find_loop(void) {
    if (outside == 0) {
        return pc_driver_loop();
    }
    PyObject *find = pc_lazy_get(PC_LAZY_INNER_LOOP);
    return find == NULL ? NULL : PyObject_CallNoArgs(find);
}

PyObject *pc_driver_run(PyObject *coroutine) {
    struct outcome o = {NULL, NULL};
    PyObject *driver = pc_driver_new(coroutine, 0, keep, &o);
    PyObject *loop = driver == NULL ? NULL : find_loop();
    int started = loop == NULL ? -1 : pc_driver_start(driver, loop);
    PyObject *ran = started > 0 ? Py_NewRef(Py_None) : NULL;
    if (started == 0) {
        alone = driver;
        on = loop;
        ran = PyObject_CallMethod(loop, "run_until_complete", "O", pc_driver_task(driver));
        alone = on = NULL;
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

PyObject *pc_driver_running_loop(void) { return Py_NewRef(on); }

int pc_driver_interrupt_run(void) {
    if (alone == NULL || pc_driver_steps(alone)) {
        return 0;
    }
    return pc_driver_interrupt(alone, false) < 0 ? -1 : 1;
}

/* ---- Put away */

/* What asyncio has for the thread is C: nothing runs that a handler of a signal could come in between. NULL with an exception, or without where it is not there. */
static PyObject *ask_asyncio(const char *name, PyObject *first, PyObject *second) {
    PyObject *module_name = PyUnicode_FromString("_asyncio");
    PyObject *module = module_name == NULL ? NULL : PyImport_GetModule(module_name);
    PyObject *function = NULL, *result = NULL;
    if (module != NULL && PyObject_HasAttrString(module, name)) {
        function = PyObject_GetAttrString(module, name);
    }
    if (function != NULL) {
        result = PyObject_CallFunctionObjArgs(function, first, second, NULL);
    }
    Py_XDECREF(function);
    Py_XDECREF(module);
    Py_XDECREF(module_name);
    return result;
}

static int stop_loop(struct pc_driver_rest *rest) {
    rest->running = ask_asyncio("_get_running_loop", NULL, NULL);
    if (rest->running == NULL || rest->running == Py_None) {
        return PyErr_Occurred() ? -1 : 0;
    }
    rest->task = ask_asyncio("_swap_current_task", rest->running, Py_None); /* Python 3.12 has it */
    PyObject *done = PyErr_Occurred() ? NULL : ask_asyncio("_set_running_loop", Py_None, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static void go_on_with_loop(struct pc_driver_rest *rest) {
    if (rest->running != NULL && rest->running != Py_None) {
        PyObject *done = ask_asyncio("_set_running_loop", rest->running, NULL);
        Py_XDECREF(done);
        done = rest->task == NULL ? NULL : ask_asyncio("_swap_current_task", rest->running, rest->task);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    Py_CLEAR(rest->running);
    Py_CLEAR(rest->task);
}

int pc_driver_put_away(struct pc_driver_rest *rest) {
    *rest = (struct pc_driver_rest){.driver = alone, .loop = on};
    if (stop_loop(rest) < 0) {
        PyObject *exception = pc_exception_take();
        go_on_with_loop(rest);
        pc_exception_restore(exception);
        return -1;
    }
    alone = on = NULL;
    outside++;
    return 0;
}

void pc_driver_take_out(struct pc_driver_rest *rest) {
    alone = rest->driver;
    on = rest->loop;
    outside--;
    go_on_with_loop(rest);
}
