/* One dict from class to function; it owns both, for the life of the process: classes are registered at import. */

#include "converters.h"

#include "types.h"

static PyObject *converters;

/* Exactly these never come here, because they are dispatched on first. */
static int is_known(PyObject *type) {
    PyTypeObject *const known[] = {&PyUnicode_Type,   &PyLong_Type,      &PyFloat_Type,       &PyBool_Type,
                                   Py_TYPE(Py_None),  &PyDict_Type,      &PyList_Type,        &PyTuple_Type,
                                   &PyBytes_Type,     &PyByteArray_Type, &PyMemoryView_Type,  &PySet_Type,
                                   &PyFrozenSet_Type, &pc_Atom_Type,     &pc_FrozenList_Type, &pc_FrozenDict_Type};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (type == (PyObject *)known[i]) {
            return 1;
        }
    }
    return 0;
}

PyObject *pc_converters_register(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *type, *function;
    if (!PyArg_ParseTuple(args, "OO:register_type", &type, &function)) {
        return NULL;
    }
    if (!PyType_Check(type)) {
        return PyErr_Format(PyExc_TypeError, "register_type: a class is needed, not %R", type);
    }
    if (!PyCallable_Check(function)) {
        return PyErr_Format(PyExc_TypeError, "register_type: encode must be callable, not %R", function);
    }
    if (is_known(type)) {
        return PyErr_Format(PyExc_TypeError, "register_type: %R has a form of its own, which cannot be replaced", type);
    }
    if (converters == NULL) {
        converters = PyDict_New();
    }
    if (converters == NULL || PyDict_SetItem(converters, type, function) < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}

PyObject *pc_converters_find(PyTypeObject *type, int any) {
    if (converters == NULL) {
        return NULL;
    }
    if (any) {
        return PyDict_GetItemWithError(converters, (PyObject *)&PyBaseObject_Type);
    }
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *class = PyTuple_GET_ITEM(mro, i);
        PyObject *found = class == (PyObject *)&PyBaseObject_Type ? NULL : PyDict_GetItemWithError(converters, class);
        if (found != NULL || PyErr_Occurred()) {
            return found;
        }
    }
    return NULL;
}
