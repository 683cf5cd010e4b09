/* Maps, and how an error names a key. References: as in encode.c. */

#include "encoder.h"
#include "lazy.h"
#include "scalars.h"
#include "twins.h"

int pc_encode_key_error(struct pc_encoder *e, PyObject *key, const char *what) {
    PyObject *exception = pc_exception_take();
    pc_path_clear(&e->path);
    PyObject *repr = PyObject_Repr(key);
    PyObject *reason = repr == NULL ? NULL : PyObject_Str(exception);
    if (reason != NULL && PyErr_GivenExceptionMatches(exception, pc_EncodeError)) {
        PyErr_Format(pc_EncodeError, "the %s %.80U: %U", what, repr, reason);
        Py_DECREF(exception);
    } else {
        PyErr_Clear();
        pc_exception_restore(exception);
    }
    Py_XDECREF(repr);
    Py_XDECREF(reason);
    return -1;
}

/* ---- dict */

/* The value is not owned yet: that costs time, and what it mostly is runs no Python code. The key is. */
PC_ONE_FRAME int encode_value_of(struct pc_encoder *e, PyObject *key, PyObject *value) {
    int done = pc_encode_scalar(e, value);
    if (done > 0 || (done == 0 && pc_encode_owned(e, value) == 0)) {
        return 0;
    }
    pc_path_push_key(&e->path, key);
    return -1;
}

/* Both are owned by the caller. */
static int encode_pair(struct pc_encoder *e, PyObject *key, PyObject *value) {
    return pc_encode_as_key(e, key) < 0 ? pc_encode_key_error(e, key, "key") : encode_value_of(e, key, value);
}

/* Both are borrowed from a dict, which Python code may change. */
PC_ONE_FRAME int encode_entry(struct pc_encoder *e, PyObject *key, PyObject *value) {
    Py_INCREF(key);
    int result;
    if (PyUnicode_CheckExact(key) && PyUnicode_IS_COMPACT_ASCII(key)) {
        pc_scalar_write_ascii(e->w, key);
        result = encode_value_of(e, key, value);
    } else {
        Py_INCREF(value);
        result = encode_pair(e, key, value);
        Py_DECREF(value);
    }
    Py_DECREF(key);
    return result;
}

static int refuse_twins(const struct pc_encoder *e, PyObject *dict) {
    PyObject *keys = PyDict_Keys(dict);
    int result = keys == NULL ? -1 : pc_twins_refuse(e, keys, "keys");
    Py_XDECREF(keys);
    return result;
}

int pc_encode_dict(struct pc_encoder *e, PyObject *dict) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyDict_GET_SIZE(dict), seen = 0, at = 0;
    struct pc_twins twins = {false, false, false};
    PyObject *key, *value;
    pc_write_map(e->w, (size_t)n);
    while (seen < n && PyDict_Next(dict, &at, &key, &value)) {
        seen++;
        pc_twins_note(&twins, key);
        if (encode_entry(e, key, value) < 0) {
            return -1;
        }
    }
    if (seen != n || PyDict_GET_SIZE(dict) != n) {
        return pc_encode_fail("the dict changed while it was being encoded");
    }
    if (pc_twins_possible(e, &twins) && n > 1 && refuse_twins(e, dict) < 0) {
        return -1;
    }
    pc_encode_leave(e);
    return pc_encode_check(e);
}

/* ---- pitcrew.Map */

static int encode_pairs(struct pc_encoder *e, PyObject *pairs) {
    struct pc_twins twins = {false, false, false};
    PyObject *keys = PyList_New(0);
    int result = keys == NULL ? -1 : 0;
    pc_write_map(e->w, (size_t)PyList_GET_SIZE(pairs));
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *key, *value;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(pairs, i), "OO", &key, &value)) {
            result = -1;
            break;
        }
        pc_twins_note(&twins, key);
        result = encode_pair(e, key, value) < 0 ? -1 : PyList_Append(keys, key);
    }
    if (result == 0 && pc_twins_possible(e, &twins)) {
        result = pc_twins_refuse(e, keys, "keys");
    }
    Py_XDECREF(keys);
    return result;
}

int pc_encode_map(struct pc_encoder *e, PyObject *map) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    PyObject *items = PyObject_CallMethod(map, "items", NULL);
    PyObject *pairs = items == NULL ? NULL : PySequence_List(items); /* nobody else has it, so it does not change */
    int result = pairs == NULL ? -1 : encode_pairs(e, pairs);
    Py_XDECREF(items);
    Py_XDECREF(pairs);
    if (result < 0) {
        return -1;
    }
    pc_encode_leave(e);
    return pc_encode_check(e);
}
