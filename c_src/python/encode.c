/*
 * The recursive encoder: dispatch by exact type in order of frequency, then subclasses, then a name and a path for what
 * has no form on the wire.
 *
 * References: containers may be changed by other threads or by __index__ while they are walked, so an element
 * is owned while it is being encoded, sizes are read again at each step, and a count that no longer holds is an error.
 */

#include "encode.h"

#include "codec/ext.h"
#include "path.h"
#include "scalars.h"
#include "types.h"

struct encoder {
    struct pc_writer *w;
    unsigned depth_left;
    struct pc_path path;
};

static int encode_value(struct encoder *e, PyObject *value);

static int fail(const char *reason) {
    PyErr_SetString(pc_EncodeError, reason);
    return -1;
}

static int enter(struct encoder *e) {
    if (e->depth_left == 0) {
        return fail("nested too deeply, or a container that holds itself");
    }
    e->depth_left--;
    return 0;
}

static void leave(struct encoder *e) { e->depth_left++; }

/* After the writer has failed there is no point in walking on. */
static int writer_ok(const struct encoder *e) {
    if (e->w->status == PC_OK) {
        return 0;
    }
    if (e->w->status == PC_NO_MEMORY) {
        (void)PyErr_NoMemory();
        return -1;
    }
    PyErr_Format(pc_EncodeError, "larger than the limit of %zu bytes", e->w->max);
    return -1;
}

/* ---- Containers */

static int encode_list(struct encoder *e, PyObject *list) {
    if (enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    pc_write_array(e->w, (size_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyList_GET_SIZE(list) != n) {
            return fail("the list changed while it was being encoded");
        }
        PyObject *item = Py_NewRef(PyList_GET_ITEM(list, i));
        int result = encode_value(e, item);
        Py_DECREF(item);
        if (result < 0) {
            pc_path_push_index(&e->path, i);
            return -1;
        }
    }
    leave(e);
    return writer_ok(e);
}

static int encode_tuple(struct encoder *e, PyObject *tuple) {
    if (enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, (size_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (encode_value(e, PyTuple_GET_ITEM(tuple, i)) < 0) {
            pc_path_push_index(&e->path, i);
            return -1;
        }
    }
    pc_write_ext_end(e->w, mark, PC_EXT_TUPLE);
    leave(e);
    return writer_ok(e);
}

/* The path of the error leads to the dict; which key it is stands in the reason. */
static int key_error(struct encoder *e, PyObject *key) {
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

/* b"a" and "a" are two keys in Python and one in the VM, where both are binaries. */
static int refuse_twins(PyObject *dict) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (!PyBytes_Check(key)) {
            continue;
        }
        PyObject *text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), "strict");
        if (text == NULL) {
            PyErr_Clear();
            continue;
        }
        int twin = PyDict_Contains(dict, text);
        if (twin > 0) {
            PyErr_Format(pc_EncodeError, "the keys %R and %R would be the same binary in the VM", key, text);
        }
        Py_DECREF(text);
        if (twin != 0) {
            return -1;
        }
    }
    return 0;
}

static int encode_pair(struct encoder *e, PyObject *key, PyObject *value) {
    if (encode_value(e, key) < 0) {
        return key_error(e, key);
    }
    if (encode_value(e, value) < 0) {
        pc_path_push_key(&e->path, key);
        return -1;
    }
    return 0;
}

static int encode_dict(struct encoder *e, PyObject *dict) {
    if (enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyDict_GET_SIZE(dict), seen = 0, at = 0;
    int any_bytes = 0, any_str = 0;
    PyObject *key, *value;
    pc_write_map(e->w, (size_t)n);
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (++seen > n) {
            break;
        }
        any_bytes |= PyBytes_Check(key);
        any_str |= PyUnicode_Check(key);
        Py_INCREF(key);
        Py_INCREF(value);
        int result = encode_pair(e, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    if (seen != n || PyDict_GET_SIZE(dict) != n) {
        return fail("the dict changed while it was being encoded");
    }
    if (any_bytes && any_str && refuse_twins(dict) < 0) {
        return -1;
    }
    leave(e);
    return writer_ok(e);
}

/* ---- What is not exactly one of the common types */

static int encode_other(struct encoder *e, PyObject *value) {
    if (PyObject_TypeCheck(value, &pc_Atom_Type)) {
        return pc_scalar_write_atom(e->w, value);
    }
    if (PyUnicode_Check(value)) {
        return pc_scalar_write_str(e->w, value);
    }
    if (PyLong_Check(value)) {
        return pc_scalar_write_int(e->w, value);
    }
    if (PyFloat_Check(value)) {
        pc_write_double(e->w, PyFloat_AS_DOUBLE(value));
        return 0;
    }
    if (PyDict_Check(value)) {
        return encode_dict(e, value);
    }
    if (PyList_Check(value)) {
        return encode_list(e, value);
    }
    if (PyTuple_Check(value)) {
        return encode_tuple(e, value);
    }
    if (PyBytes_Check(value)) {
        pc_write_bin(e->w, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        return 0;
    }
    if (PyByteArray_Check(value)) {
        pc_write_bin(e->w, PyByteArray_AS_STRING(value), (size_t)PyByteArray_GET_SIZE(value));
        return 0;
    }
    if (PyMemoryView_Check(value)) {
        return pc_scalar_write_memoryview(e->w, value);
    }
    return pc_scalar_write_other(e->w, value);
}

static int encode_value(struct encoder *e, PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return pc_scalar_write_str(e->w, value);
    }
    if (type == &PyLong_Type) {
        return pc_scalar_write_int(e->w, value);
    }
    if (value == Py_None) {
        pc_write_nil(e->w);
        return 0;
    }
    if (type == &PyFloat_Type) {
        pc_write_double(e->w, PyFloat_AS_DOUBLE(value));
        return 0;
    }
    if (type == &PyDict_Type) {
        return encode_dict(e, value);
    }
    if (type == &PyList_Type) {
        return encode_list(e, value);
    }
    if (type == &PyBool_Type) {
        pc_write_bool(e->w, value == Py_True);
        return 0;
    }
    if (type == &PyBytes_Type) {
        pc_write_bin(e->w, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        return 0;
    }
    if (type == &PyTuple_Type) {
        return encode_tuple(e, value);
    }
    return encode_other(e, value);
}

int pc_encode(struct pc_writer *w, PyObject *value, unsigned max_depth, const char *root) {
    struct encoder e = {.w = w, .depth_left = max_depth, .path = {NULL}};
    if (encode_value(&e, value) == 0 && writer_ok(&e) == 0) {
        pc_path_clear(&e.path);
        return 0;
    }
    pc_path_complete(&e.path, root);
    return -1;
}
