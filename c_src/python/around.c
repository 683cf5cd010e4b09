/* See around.h. */

#include "around.h"

static PyObject *around; /* or NULL */

PyObject *pc_around_set(PyObject *module, PyObject *callable) {
    (void)module;
    Py_XSETREF(around, callable == Py_None ? NULL : Py_NewRef(callable));
    return Py_NewRef(Py_None);
}

PyObject *pc_around_call(PyObject *tool, struct pc_args *a) {
    if (around == NULL) {
        return PyObject_Vectorcall(tool, a->items, a->positional | PY_VECTORCALL_ARGUMENTS_OFFSET, a->kwnames);
    }
    PyObject *function = Py_NewRef(around); /* which may be set meanwhile */
    PyObject **with_tool =
        a->items - 1; /* whose place is the callee's; the tool is borrowed, and lives as long as its call */
    with_tool[0] = tool;
    PyObject *result = PyObject_Vectorcall(function, with_tool, a->positional + 1, a->kwnames);
    with_tool[0] = NULL;
    Py_DECREF(function);
    return result;
}
