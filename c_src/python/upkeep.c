/* See upkeep.h. */

#include "upkeep.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "vitals.h"

/* With the GIL, on the main thread, between two instructions. */
static int back(void *arg) {
    (void)arg;
    pc_vitals_back();
    return 0;
}

/* One of the few functions of Python that need no GIL. Unlike a signal it ends no system call. */
bool pc_upkeep_poke(void) { return Py_AddPendingCall(back, NULL) == 0; }

/* PyGC_Collect would do nothing where a module has turned automatic collections off, which is no wish to keep garbage for ever. */
static void collect(void) {
    PyObject *exception = PyErr_Occurred() ? pc_exception_take() : NULL;
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *found = gc == NULL ? NULL : PyObject_CallMethod(gc, "collect", NULL);
    Py_XDECREF(gc);
    if (found == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    Py_XDECREF(found);
    pc_exception_restore(exception);
}

void pc_upkeep_release(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

void pc_upkeep_trim(void) {
    if (pc_vitals_trim_due()) {
        collect();
        pc_upkeep_release();
        pc_vitals_trimmed();
    }
}
