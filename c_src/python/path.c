/* Paths of errors. Runs only when something has already failed, so it never lets its own failures replace the first one. */

#include "path.h"

enum { KEY_TEXT_MOST = 80 };

/* Steals part, which may be NULL. */
static void push(struct pc_path *path, PyObject *part) {
    if (path->parts == NULL) {
        path->parts = PyList_New(0);
    }
    if (part == NULL || path->parts == NULL || PyList_Append(path->parts, part) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(part);
}

void pc_path_push_index(struct pc_path *path, Py_ssize_t index) {
    PyObject *exception = pc_exception_take();
    push(path, PyLong_FromSsize_t(index));
    pc_exception_restore(exception);
}

void pc_path_push_key(struct pc_path *path, PyObject *key) {
    PyObject *exception = pc_exception_take();
    push(path, Py_NewRef(key));
    pc_exception_restore(exception);
}

void pc_path_clear(struct pc_path *path) { Py_CLEAR(path->parts); }

/* Whether the text can stand between double quotes as it is. */
static int is_plain(PyObject *text) {
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(text); i++) {
        Py_UCS4 c = PyUnicode_READ_CHAR(text, i);
        if (c == '"' || c == '\\' || !Py_UNICODE_ISPRINTABLE(c)) {
            return 0;
        }
    }
    return 1;
}

static PyObject *part_text(PyObject *part) {
    if (PyUnicode_CheckExact(part) && PyUnicode_GET_LENGTH(part) <= KEY_TEXT_MOST && is_plain(part)) {
        return PyUnicode_FromFormat("[\"%U\"]", part);
    }
    PyObject *repr = PyObject_Repr(part);
    PyObject *text = repr == NULL ? NULL : PyUnicode_FromFormat("[%.80U]", repr);
    Py_XDECREF(repr);
    return text;
}

static PyObject *path_text(PyObject *outermost_first, const char *root) {
    PyObject *text = PyUnicode_FromString(root);
    for (Py_ssize_t i = 0; text != NULL && i < PyTuple_GET_SIZE(outermost_first); i++) {
        PyObject *part = part_text(PyTuple_GET_ITEM(outermost_first, i));
        if (part == NULL) { /* a key whose repr fails */
            PyErr_Clear();
            part = PyUnicode_FromString("[?]");
        }
        PyUnicode_AppendAndDel(&text, part);
    }
    return text;
}

static PyObject *outermost_first(struct pc_path *path) {
    if (path->parts == NULL) {
        return PyTuple_New(0);
    }
    return PyList_Reverse(path->parts) < 0 ? NULL : PyList_AsTuple(path->parts);
}

static int complete(PyObject *exception, struct pc_path *path, const char *root) {
    int result = -1;
    PyObject *reason = PyObject_Str(exception);
    PyObject *parts = outermost_first(path);
    PyObject *where = parts == NULL ? NULL : path_text(parts, root);
    PyObject *message = where == NULL || reason == NULL ? NULL : PyUnicode_FromFormat("%U: %U", where, reason);
    PyObject *args = message == NULL ? NULL : PyTuple_Pack(1, message);
    if (args == NULL || PyObject_SetAttrString(exception, "args", args) < 0 ||
        PyObject_SetAttrString(exception, "path", parts) < 0 ||
        PyObject_SetAttrString(exception, "reason", reason) < 0) {
        goto done;
    }
    result = 0;
done:
    Py_XDECREF(reason);
    Py_XDECREF(parts);
    Py_XDECREF(where);
    Py_XDECREF(message);
    Py_XDECREF(args);
    return result;
}

void pc_path_complete(struct pc_path *path, const char *root) {
    PyObject *exception = pc_exception_take();
    if (PyErr_GivenExceptionMatches(exception, pc_EncodeError) ||
        PyErr_GivenExceptionMatches(exception, pc_DecodeError)) {
        if (complete(exception, path, root) < 0) {
            PyErr_Clear();
        }
    }
    pc_path_clear(path);
    pc_exception_restore(exception);
}

void pc_path_none(const char *root) {
    struct pc_path nowhere = {NULL};
    pc_path_complete(&nowhere, root);
}
