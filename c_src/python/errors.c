/* The exception classes, and the differences between Python versions in handling a raised exception. */

#include "core.h"

PyObject *pc_Error;
PyObject *pc_EncodeError;
PyObject *pc_DecodeError;
PyObject *pc_ProtocolError;
PyObject *pc_Refused;
PyObject *pc_Cancelled;

static int error_new(PyObject *module, PyObject **slot, const char *name, const char *doc, PyObject *base) {
    char qualified[64];
    (void)PyOS_snprintf(qualified, sizeof qualified, "pitcrew.%s", name);
    if (*slot == NULL) {
        *slot = PyErr_NewExceptionWithDoc(qualified, doc, base, NULL);
    }
    return *slot == NULL ? -1 : PyModule_AddObjectRef(module, name, *slot);
}

int pc_errors_init(PyObject *module) {
    if (error_new(module, &pc_Error, "Error", "What every error of Pitcrew is.", NULL) < 0 ||
        error_new(module, &pc_EncodeError, "EncodeError",
                  "A value has no form on the wire. `path` says where it is, outermost first; `reason` says why.",
                  pc_Error) < 0 ||
        error_new(module, &pc_DecodeError, "DecodeError",
                  "Bytes cannot become a Python value. `path` says where, outermost first; `reason` says why.",
                  pc_Error) < 0 ||
        error_new(module, &pc_ProtocolError, "ProtocolError", "The other end broke the protocol.", pc_Error) < 0 ||
        error_new(module, &pc_Refused, "Refused", "Refused(kind, message): a call that Pitcrew does not do.",
                  pc_Error) < 0 ||
        error_new(module, &pc_Cancelled, "Cancelled",
                  "Raised inside a tool whose call is being cancelled, wherever it is, so that `finally` and `with` "
                  "clean up.\n\n"
                  "Not an Exception, as KeyboardInterrupt is not: `except Exception` lets it through. A tool that "
                  "catches it and\n"
                  "returns has answered its call.",
                  PyExc_BaseException) < 0) {
        return -1;
    }
    return 0;
}

PyObject *pc_exception_take(void) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void pc_exception_restore(PyObject *exception) {
    if (exception == NULL) {
        return;
    }
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyObject *type = (PyObject *)Py_TYPE(exception);
    PyErr_Restore(Py_NewRef(type), exception, PyException_GetTraceback(exception));
#endif
}

PyObject *pc_type_name(PyTypeObject *type) {
    PyObject *module = PyObject_GetAttrString((PyObject *)type, "__module__");
    PyObject *name = PyObject_GetAttrString((PyObject *)type, "__qualname__");
    PyObject *text = NULL;
    if (module == NULL || name == NULL || !PyUnicode_Check(module) || !PyUnicode_Check(name)) {
        PyErr_Clear();
        text = PyUnicode_FromString(type->tp_name);
    } else if (PyUnicode_CompareWithASCIIString(module, "builtins") == 0) {
        text = Py_NewRef(name);
    } else {
        text = PyUnicode_FromFormat("%U.%U", module, name);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return text;
}
