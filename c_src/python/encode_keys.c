/* Maps: what their keys may be, and how an error names one. References: as in encode.c. */

#include "encoder.h"
#include "lazy.h"
#include "scalars.h"
#include "types.h"

/* The path of the error leads to the map; which key it is stands in the reason. */
static int key_error(struct pc_encoder *e, PyObject *key) {
    PyObject *exception = pc_exception_take();
    pc_path_clear(&e->path);
    PyObject *repr = PyObject_Repr(key);
    PyObject *reason = repr == NULL ? NULL : PyObject_Str(exception);
    if (reason != NULL && PyErr_GivenExceptionMatches(exception, pc_EncodeError)) {
        PyErr_Format(pc_EncodeError, "the key %.80U: %U", repr, reason);
        Py_DECREF(exception);
    } else {
        PyErr_Clear();
        pc_exception_restore(exception);
    }
    Py_XDECREF(repr);
    Py_XDECREF(reason);
    return -1;
}

/* ---- b"a" and "a" are two keys in Python and one in the VM, where both are binaries. */

/* Whether a key equal to `text` is text itself: an atom is no binary. */
static bool has_text(PyObject *keys, PyObject *text) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(keys, &at, &key, &value)) {
        if (PyUnicode_Check(key) && !PyObject_TypeCheck(key, &pc_Atom_Type) && PyUnicode_Compare(key, text) == 0) {
            return true;
        }
    }
    return false;
}

static int refuse_twin(PyObject *keys, PyObject *key) {
    PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), "strict");
    if (text == NULL) {
        PyErr_Clear();
        return 0;
    }
    int twin = PyDict_Contains(keys, text);
    if (twin > 0 && has_text(keys, text)) {
        PyErr_Format(pc_EncodeError, "the keys %R and %R would be the same binary in the VM", key, text);
        twin = -1;
    }
    Py_DECREF(text);
    return twin < 0 ? -1 : 0;
}

/* `keys` is any dict whose keys are those of the map. */
static int refuse_twins(PyObject *keys) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(keys, &at, &key, &value)) {
        if (PyBytes_Check(key) && refuse_twin(keys, key) < 0) {
            return -1;
        }
    }
    return 0;
}

struct kinds_of_keys {
    bool bytes;
    bool text;
};

static inline void note(struct kinds_of_keys *kinds, PyObject *key) {
    kinds->text |= PyUnicode_Check(key);
    kinds->bytes |= PyBytes_Check(key);
}

static inline bool may_have_twins(const struct pc_encoder *e, const struct kinds_of_keys *kinds) {
    return kinds->bytes && kinds->text && !e->opts->plain;
}

/* ---- dict */

/* The value is not owned yet: that costs time, and what it mostly is runs no Python code. The key is. */
static inline int encode_value_of(struct pc_encoder *e, PyObject *key, PyObject *value) {
    int done = pc_encode_scalar(e, value);
    if (done > 0 || (done == 0 && pc_encode_owned(e, value) == 0)) {
        return 0;
    }
    pc_path_push_key(&e->path, key);
    return -1;
}

/* Both are owned by the caller. */
static int encode_pair(struct pc_encoder *e, PyObject *key, PyObject *value) {
    return pc_encode_value(e, key) < 0 ? key_error(e, key) : encode_value_of(e, key, value);
}

/* Both are borrowed from a dict, which Python code may change. */
static inline int encode_entry(struct pc_encoder *e, PyObject *key, PyObject *value) {
    Py_INCREF(key);
    int result;
    if (PyUnicode_CheckExact(key) && PyUnicode_IS_COMPACT_ASCII(key)) {
        (void)pc_scalar_write_str(e, key);
        result = encode_value_of(e, key, value);
    } else {
        Py_INCREF(value);
        result = encode_pair(e, key, value);
        Py_DECREF(value);
    }
    Py_DECREF(key);
    return result;
}

int pc_encode_dict(struct pc_encoder *e, PyObject *dict) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyDict_GET_SIZE(dict), seen = 0, at = 0;
    struct kinds_of_keys kinds = {false, false};
    PyObject *key, *value;
    pc_write_map(e->w, (size_t)n);
    while (seen < n && PyDict_Next(dict, &at, &key, &value)) {
        seen++;
        note(&kinds, key);
        if (encode_entry(e, key, value) < 0) {
            return -1;
        }
    }
    if (seen != n || PyDict_GET_SIZE(dict) != n) {
        return pc_encode_fail("the dict changed while it was being encoded");
    }
    if (may_have_twins(e, &kinds) && refuse_twins(dict) < 0) {
        return -1;
    }
    pc_encode_leave(e);
    return pc_encode_check(e);
}

/* ---- pitcrew.Map */

static int encode_pairs(struct pc_encoder *e, PyObject *pairs) {
    struct kinds_of_keys kinds = {false, false};
    PyObject *binaries = PyDict_New();
    int result = binaries == NULL ? -1 : 0;
    pc_write_map(e->w, (size_t)PyList_GET_SIZE(pairs));
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(pairs); i++) {
        PyObject *key, *value;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(pairs, i), "OO", &key, &value)) {
            result = -1;
            break;
        }
        note(&kinds, key);
        result = encode_pair(e, key, value);
        if (result == 0 && (PyBytes_Check(key) || (PyUnicode_Check(key) && !PyObject_TypeCheck(key, &pc_Atom_Type)))) {
            result = PyDict_SetItem(binaries, key, key);
        }
    }
    if (result == 0 && may_have_twins(e, &kinds)) {
        result = refuse_twins(binaries);
    }
    Py_XDECREF(binaries);
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
