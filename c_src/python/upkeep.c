/* See upkeep.h. */

#include "upkeep.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "os/os.h"
#include "vitals.h"
#include "wire/clock.h"

/* With the GIL, on the main thread, between two instructions. */
static int back(void *arg) {
    (void)arg;
    pc_vitals_back();
    return 0;
}

/* One of the few functions of Python that need no GIL. Unlike a signal it ends no system call. */
bool pc_upkeep_poke(void) { return Py_AddPendingCall(back, NULL) == 0; }

/* PyGC_Collect would do nothing where a module has turned automatic collections off, which is no wish to keep garbage for ever. How much was found, or -1. */
static int64_t collect(void) {
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *found = gc == NULL ? NULL : PyObject_CallMethod(gc, "collect", NULL);
    int64_t objects = found == NULL ? -1 : PyLong_AsLongLong(found);
    Py_XDECREF(gc);
    Py_XDECREF(found);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(NULL);
    }
    return objects;
}

/* The module is there if somebody has registered a hook. It raises nothing but what has no memory. */
static bool call_hooks(uint64_t bytes) {
    PyObject *name = PyUnicode_FromString("pitcrew.pressure");
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *called = NULL;
    if (module != NULL) {
        called = PyObject_CallMethod(module, "relieve", "KK", (unsigned long long)bytes,
                                     (unsigned long long)pc_vitals_limit());
    }
    bool there = module != NULL;
    Py_XDECREF(called);
    Py_XDECREF(module);
    Py_XDECREF(name);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(NULL);
    }
    return there;
}

void pc_upkeep_release(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

static bool resting;

void pc_upkeep_rest(bool rests) { resting = rests; }

void pc_upkeep_woken(void) {
    if (resting) {
        pc_upkeep_trim();
    }
}

static uint64_t measure(void) {
    uint64_t bytes = 0;
    (void)pc_os_private_memory(&bytes);
    return bytes;
}

/* A step that begins with so much memory. */
static struct pc_vitals_step take(enum pc_vitals_what what, uint64_t before) {
    struct pc_vitals_step step = {.done = true, .before = before, .objects = -1};
    int64_t start = pc_clock_ns();
    if (what == PC_STEP_HOOKS) {
        step.done = call_hooks(before);
    } else if (what == PC_STEP_COLLECT) {
        step.objects = collect();
    } else {
        pc_upkeep_release();
    }
    step.ns = pc_clock_ns() - start;
    step.after = step.done ? measure() : before;
    return step;
}

static void relieve(void) {
    struct pc_vitals_step steps[PC_STEPS];
    uint64_t bytes = measure();
    for (enum pc_vitals_what i = PC_STEP_HOOKS; i < PC_STEPS; i++) {
        steps[i] = take(i, bytes);
        bytes = steps[i].after;
    }
    pc_vitals_trimmed(steps);
}

void pc_upkeep_trim(void) {
    static bool at_work; /* hooks and finalizers are Python, in which the signal that wakes the loop may arrive again */
    unsigned due = pc_vitals_due();
    if (due == 0 || at_work) {
        return;
    }
    at_work = true;
    PyObject *exception = PyErr_Occurred() ? pc_exception_take() : NULL;
    if ((due & PC_ASK_TRIM) != 0) {
        relieve();
    }
    if ((due & PC_ASK_COLLECT) != 0) {
        struct pc_vitals_step step = take(PC_STEP_COLLECT, measure());
        pc_vitals_collected(&step);
    }
    pc_exception_restore(exception);
    at_work = false;
}
