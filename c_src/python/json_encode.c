/*
 * Objects to JSON text, in one walk: what was looked at is what is written, whatever other threads do meanwhile, and a text that
 * becomes too large ends early. The text is that of json.dumps(value, ensure_ascii=False, separators=(",", ":")).
 *
 * References: everything that is being written is owned, because an error, or making bytes of a str, may run Python code.
 */

#include <math.h>
#include <stdio.h>

#include "encoder.h"
#include "json.h"
#include "scalars.h"
#include "wire/json_frame.h"

static int write_value(struct pc_encoder *e, PyObject *value);

/* ---- Strings */

static bool is_plain(char c) { return (unsigned char)c >= 0x20 && c != '"' && c != '\\'; }

static void write_escape(struct pc_writer *w, char c) {
    static const char bytes[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt", digits[] = "0123456789abcdef";
    const char *found = c == '\0' ? NULL : strchr(bytes, c);
    if (found != NULL) {
        const char text[] = {'\\', letters[found - bytes]};
        pc_writer_append(w, text, sizeof text);
    } else {
        const char text[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 0xf]};
        pc_writer_append(w, text, sizeof text);
    }
}

void pc_json_write_str(struct pc_writer *w, const char *utf8, size_t n) {
    size_t done = 0;
    pc_json_put(w, "\"");
    for (size_t i = 0; i < n; i++) {
        if (!is_plain(utf8[i])) {
            pc_writer_append(w, utf8 + done, i - done);
            write_escape(w, utf8[i]);
            done = i + 1;
        }
    }
    pc_writer_append(w, utf8 + done, n - done);
    pc_json_put(w, "\"");
}

static int write_utf8(struct pc_encoder *e, const char *utf8, size_t n, bool is_key) {
    if (is_key && memchr(utf8, '\0', n) != NULL) {
        return pc_encode_fail("the VM's parser reads no keys with a NUL character");
    }
    pc_json_write_str(e->w, utf8, n);
    return 0;
}

static int write_str(struct pc_encoder *e, PyObject *text, bool is_key) {
    if (PyUnicode_IS_ASCII(text)) {
        return write_utf8(e, PyUnicode_DATA(text), (size_t)PyUnicode_GET_LENGTH(text), is_key);
    }
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    if (bytes == NULL) {
        return pc_scalar_surrogate_error(text, "");
    }
    int result = write_utf8(e, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes), is_key);
    Py_DECREF(bytes);
    return result;
}

/* ---- Numbers */

static int write_int(struct pc_encoder *e, PyObject *value) {
    int overflow;
    char text[24];
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        return pc_encode_fail("an int that does not fit 64 bits has no place in JSON; send it as a str");
    }
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    (void)snprintf(text, sizeof text, "%lld", number);
    pc_json_put(e->w, text);
    return 0;
}

static int write_float(struct pc_encoder *e, PyObject *value) {
    double number = PyFloat_AS_DOUBLE(value);
    if (!isfinite(number)) {
        return pc_encode_fail("nan and infinity have no place in JSON; send None or a str");
    }
    char *text = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        return -1;
    }
    pc_json_put(e->w, text);
    PyMem_Free(text);
    return 0;
}

/* ---- Containers */

static int write_item(struct pc_encoder *e, PyObject *item, Py_ssize_t index) {
    if (index > 0) {
        pc_json_put(e->w, ",");
    }
    if (write_value(e, item) < 0) {
        pc_path_push_index(&e->path, index);
        return -1;
    }
    return 0;
}

static int write_list(struct pc_encoder *e, PyObject *list) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (write_item(e, PyList_GET_ITEM(list, i), i) < 0) {
            return -1;
        }
    }
    return 0;
}

static int write_tuple(struct pc_encoder *e, PyObject *tuple) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (write_item(e, PyTuple_GET_ITEM(tuple, i), i) < 0) {
            return -1;
        }
    }
    return 0;
}

static int write_array(struct pc_encoder *e, PyObject *value) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    pc_json_put(e->w, "[");
    if ((PyList_Check(value) ? write_list(e, value) : write_tuple(e, value)) < 0) {
        return -1;
    }
    pc_json_put(e->w, "]");
    pc_encode_leave(e);
    return pc_encode_check(e);
}

/* Both are owned by the caller. */
static int write_pair(struct pc_encoder *e, PyObject *key, PyObject *value) {
    int written = PyUnicode_Check(key) ? write_str(e, key, true) : pc_encode_fail("JSON has no keys but strings");
    if (written < 0) {
        return pc_encode_key_error(e, key, "key");
    }
    pc_json_put(e->w, ":");
    if (write_value(e, value) < 0) {
        pc_path_push_key(&e->path, key);
        return -1;
    }
    return 0;
}

static int write_pairs(struct pc_encoder *e, PyObject *dict) {
    Py_ssize_t n = PyDict_GET_SIZE(dict), seen = 0, at = 0;
    PyObject *key, *value;
    while (seen < n && PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        if (seen++ > 0) {
            pc_json_put(e->w, ",");
        }
        int result = write_pair(e, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0) {
            return -1;
        }
    }
    return seen == n && PyDict_GET_SIZE(dict) == n ? 0 : pc_encode_fail("the dict changed while it was being encoded");
}

static int write_object(struct pc_encoder *e, PyObject *dict) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    pc_json_put(e->w, "{");
    if (write_pairs(e, dict) < 0) {
        return -1;
    }
    pc_json_put(e->w, "}");
    pc_encode_leave(e);
    return pc_encode_check(e);
}

/* ---- Values */

static int refuse(PyObject *value) {
    PyObject *name = pc_type_name(Py_TYPE(value));
    if (name != NULL) {
        PyErr_Format(
            pc_EncodeError,
            "an object of type %U has no place in JSON, which carries None, bool, int, float, str, list, tuple "
            "and dict",
            name);
        Py_DECREF(name);
    }
    return -1;
}

static int write_owned(struct pc_encoder *e, PyObject *value) {
    if (PyUnicode_Check(value)) {
        return write_str(e, value, false);
    }
    if (value == Py_None || PyBool_Check(value)) {
        pc_json_put(e->w, value == Py_None ? "null" : value == Py_True ? "true" : "false");
        return 0;
    }
    if (PyLong_Check(value)) {
        return write_int(e, value);
    }
    if (PyFloat_Check(value)) {
        return write_float(e, value);
    }
    if (PyDict_Check(value)) {
        return write_object(e, value);
    }
    if (PyList_Check(value) || PyTuple_Check(value)) {
        return write_array(e, value);
    }
    return refuse(value);
}

static int write_value(struct pc_encoder *e, PyObject *value) {
    Py_INCREF(value);
    int result = write_owned(e, value);
    Py_DECREF(value);
    return result;
}

int pc_json_encode(struct pc_writer *w, PyObject *value, const char *end, unsigned max_depth, const char *root) {
    struct pc_encoder e = {.w = w, .opts = NULL, .depth_left = max_depth, .path = {NULL}};
    int result = write_value(&e, value);
    if (result == 0) {
        pc_json_put(w, end);
        result = pc_encode_check(&e);
    }
    if (result < 0) {
        pc_path_complete(&e.path, root);
    }
    return result;
}
