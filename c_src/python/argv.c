/* See argv.h. */

#include "argv.h"

#include <stdlib.h>
#include <string.h>

void pc_argv_free(char **argv) {
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
        free(argv[i]);
    }
    free(argv);
}

int pc_argv_read(PyObject *list, char ***argv) {
    *argv = NULL;
    if (list == Py_None) {
        return 0;
    }
    if (!PyList_CheckExact(list) || PyList_GET_SIZE(list) == 0) {
        PyErr_SetString(PyExc_TypeError, "argv: None or a list of str");
        return -1;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    *argv = calloc((size_t)n + 1, sizeof **argv);
    for (Py_ssize_t i = 0; *argv != NULL && i < n; i++) {
        PyObject *bytes;
        if (!PyUnicode_FSConverter(PyList_GET_ITEM(list, i), &bytes)) {
            return -1;
        }
        (*argv)[i] = strdup(PyBytes_AS_STRING(bytes));
        Py_DECREF(bytes);
        if ((*argv)[i] == NULL) {
            break;
        }
    }
    if (*argv == NULL || (*argv)[n - 1] == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    return 0;
}
