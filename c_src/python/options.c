/* See options.h. Names follow the msgpack package's where they mean the same. */

#include "options.h"

static int is(PyObject *name, const char *text) { return PyUnicode_CompareWithASCIIString(name, text) == 0; }

/* ---- Values */

static int read_bool(PyObject *name, PyObject *value, bool *out) {
    if (!PyBool_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%U must be True or False, not %R", name, value);
        return -1;
    }
    *out = value == Py_True;
    return 0;
}

static int read_not(PyObject *name, PyObject *value, bool *out) {
    int result = read_bool(name, value, out);
    *out = !*out;
    return result;
}

static int read_callable(PyObject *name, PyObject *value, PyObject **out) {
    if (value != Py_None && !PyCallable_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%U must be callable or None, not %R", name, value);
        return -1;
    }
    *out = value == Py_None ? NULL : value;
    return 0;
}

static int read_number(PyObject *name, PyObject *value, Py_ssize_t least, Py_ssize_t most, Py_ssize_t *out) {
    *out = PyLong_Check(value) ? PyLong_AsSsize_t(value) : -1;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        *out = -1;
    }
    if (*out < least || *out > most) {
        PyErr_Format(PyExc_ValueError, "%U must be a number from %zd to %zd, not %R", name, least, most, value);
        return -1;
    }
    return 0;
}

static int read_size(PyObject *name, PyObject *value, size_t *out) {
    Py_ssize_t number;
    if (read_number(name, value, 1, PY_SSIZE_T_MAX, &number) < 0) {
        return -1;
    }
    *out = (size_t)number;
    return 0;
}

static int read_depth(PyObject *name, PyObject *value, unsigned *out) {
    Py_ssize_t number;
    if (read_number(name, value, 1, PC_MAX_DEPTH, &number) < 0) {
        return -1;
    }
    *out = (unsigned)number;
    return 0;
}

/* One of two words. */
static int read_word(PyObject *name, PyObject *value, const char *no, const char *yes, bool *out) {
    bool known = PyUnicode_Check(value) && (is(value, no) || is(value, yes));
    if (!known) {
        PyErr_Format(PyExc_ValueError, "%U must be \"%s\" or \"%s\", not %R", name, no, yes, value);
        return -1;
    }
    *out = is(value, yes);
    return 0;
}

static int read_errors(PyObject *name, PyObject *value, const char **out) {
    if (value == Py_None) {
        *out = NULL;
        return 0;
    }
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%U must be a str or None, not %R", name, value);
        return -1;
    }
    const char *errors = PyUnicode_AsUTF8(value);
    *out = errors == NULL || strcmp(errors, "strict") == 0 ? NULL : errors;
    return errors == NULL ? -1 : 0;
}

static int unknown(const char *function, PyObject *name) {
    PyErr_Format(PyExc_TypeError, "%s() has no option %R", function, name);
    return -1;
}

/* ---- packb */

static int set_pack(struct pc_pack_opts *o, PyObject *name, PyObject *value) {
    if (is(name, "default")) {
        return read_callable(name, value, &o->encode.fallback);
    }
    if (is(name, "types")) {
        bool ours = false;
        int result = read_word(name, value, "plain", "pitcrew", &ours);
        o->encode.plain = !ours;
        return result;
    }
    if (is(name, "use_bin_type")) {
        return read_not(name, value, &o->encode.bin_as_str);
    }
    if (is(name, "datetime")) {
        return read_bool(name, value, &o->encode.datetime);
    }
    if (is(name, "unicode_errors")) {
        return read_errors(name, value, &o->encode.errors);
    }
    if (is(name, "max_depth")) {
        return read_depth(name, value, &o->encode.max_depth);
    }
    if (is(name, "max_size")) {
        return read_size(name, value, &o->max_size);
    }
    return unknown("packb", name);
}

int pc_options_pack(struct pc_pack_opts *o, PyObject *const *values, PyObject *kwnames) {
    *o = (struct pc_pack_opts){.max_size = PY_SSIZE_T_MAX};
    o->encode.plain = o->encode.keep_ext = true;
    o->encode.max_depth = PC_MAX_DEPTH;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (set_pack(o, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- unpackb and Unpacker */

/* What an option is when it is not given may depend on `types`. */
struct given {
    bool text_keys, timestamps;
};

static int set_timestamp(struct pc_unpack_opts *o, PyObject *name, PyObject *value) {
    Py_ssize_t number;
    if (read_number(name, value, PC_TIMESTAMPS_OBJECT, PC_TIMESTAMPS_DATETIME, &number) < 0) {
        return -1;
    }
    o->decode.timestamps = (enum pc_timestamps)number;
    return 0;
}

static int set_keys(struct pc_unpack_opts *o, PyObject *name, PyObject *value) {
    bool strict = false;
    int result = read_word(name, value, "dict", "strict", &strict);
    if (result == 0) {
        o->decode.keys = strict ? PC_KEYS_STRICT : PC_KEYS_DICT;
    }
    return result;
}

static int set_unpack(struct pc_unpack_opts *o, PyObject *name, PyObject *value, const char *function,
                      struct given *given) {
    if (is(name, "types")) {
        return read_word(name, value, "pitcrew", "plain", &o->decode.plain);
    }
    if (is(name, "raw")) {
        return read_bool(name, value, &o->decode.raw);
    }
    if (is(name, "use_list")) {
        return read_not(name, value, &o->decode.as_tuple);
    }
    if (is(name, "strict_map_key")) {
        given->text_keys = true;
        return read_bool(name, value, &o->decode.text_keys);
    }
    if (is(name, "keys")) {
        return set_keys(o, name, value);
    }
    if (is(name, "timestamp")) {
        given->timestamps = true;
        return set_timestamp(o, name, value);
    }
    if (is(name, "ext_hook")) {
        return read_callable(name, value, &o->decode.ext_hook);
    }
    if (is(name, "unicode_errors")) {
        return read_errors(name, value, &o->decode.errors);
    }
    if (is(name, "max_depth")) {
        return read_depth(name, value, &o->max_depth);
    }
    return is(name, "max_size") ? read_size(name, value, &o->max_size) : unknown(function, name);
}

int pc_options_unpack(struct pc_unpack_opts *o, PyObject *const *values, PyObject *kwnames, const char *function,
                      size_t max_size) {
    struct given given = {false, false};
    *o = (struct pc_unpack_opts){.max_depth = PC_MAX_DEPTH, .max_size = max_size};
    o->decode.plain = o->decode.keep_ext = true;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (set_unpack(o, PyTuple_GET_ITEM(kwnames, i), values[i], function, &given) < 0) {
            return -1;
        }
    }
    if (!given.text_keys) {
        o->decode.text_keys = o->decode.plain && o->decode.keys == PC_KEYS_DICT;
    }
    if (!given.timestamps) {
        o->decode.timestamps = o->decode.plain ? PC_TIMESTAMPS_OBJECT : PC_TIMESTAMPS_DATETIME;
    }
    return 0;
}
