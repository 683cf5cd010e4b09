#ifndef PC_PYTHON_SCALARS_H
#define PC_PYTHON_SCALARS_H

/*
 * Writing values that hold no others. 0, or -1 with an EncodeError that has no path yet, or with what Python raised.
 * The inline functions are for exact types, run no Python code, and so do not own what they write.
 */

#include "encoder.h"
#include "lent.h"
#include "text.h"

int pc_scalar_write_str_slow(struct pc_encoder *e, PyObject *text);
int pc_scalar_write_int_slow(struct pc_encoder *e, PyObject *value);

/* A str that is compact and ASCII, into the frame. */
static inline void pc_scalar_write_ascii(struct pc_writer *w, PyObject *text) {
    size_t n = (size_t)PyUnicode_GET_LENGTH(text);
    if (__builtin_expect(w->cap - w->len >= PC_PACK_MOST + n && n <= UINT32_MAX && w->status == PC_OK, 1)) {
        msgpack_pack_str(w, n); /* one look at the room for both */
        pc_bytes_copy(w->data + w->len, PyUnicode_DATA(text), n);
        w->len += n;
    } else {
        pc_write_str(w, PyUnicode_DATA(text), n);
    }
}

/* A str or a subclass of it, as text. */
static inline int pc_scalar_write_str(struct pc_encoder *e, PyObject *text) {
    if (!PyUnicode_IS_COMPACT_ASCII(text) || PyUnicode_GET_LENGTH(text) >= PC_SEGMENT_LEAST) {
        return pc_scalar_write_str_slow(e, text);
    }
    pc_scalar_write_ascii(e->w, text);
    return 0;
}

/* Whether an int is of one digit, and then its value. */
static inline bool pc_scalar_small_int(PyObject *value, int64_t *number) {
#if PY_VERSION_HEX >= 0x030C0000
    *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
    return PyUnstable_Long_IsCompact((PyLongObject *)value);
#else
    Py_ssize_t size = Py_SIZE(value);
    *number = size * (int64_t)((PyLongObject *)value)->ob_digit[0];
    return size >= -1 && size <= 1;
#endif
}

/* An int or a subclass of it. */
static inline int pc_scalar_write_int(struct pc_encoder *e, PyObject *value) {
    int64_t number;
    if (!pc_scalar_small_int(value, &number)) {
        return pc_scalar_write_int_slow(e, value);
    }
    pc_write_int(e->w, number);
    return 0;
}

/* A value of the types that run no Python code: 1 if it was one, 0 if not, -1 on failure. */
static inline int pc_encode_scalar(struct pc_encoder *e, PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return pc_scalar_write_str(e, value) < 0 ? -1 : 1;
    }
    if (type == &PyLong_Type) {
        return pc_scalar_write_int(e, value) < 0 ? -1 : 1;
    }
    if (type == &PyFloat_Type) {
        pc_write_double(e->w, PyFloat_AS_DOUBLE(value));
        return 1;
    }
    if (value == Py_None) {
        pc_write_nil(e->w);
        return 1;
    }
    if (type == &PyBool_Type) {
        pc_write_bool(e->w, value == Py_True);
        return 1;
    }
    return 0;
}

/* Bytes that stay as they are although the GIL may be let go of: nobody can change them, or a buffer of them is held. */
static inline void pc_scalar_write_bytes(struct pc_encoder *e, const void *bytes, size_t n) {
    if (n >= PC_SEGMENT_LEAST && pc_lent_write(e, PC_SEGMENT_BIN, bytes, n)) {
        return;
    }
    if (e->opts->bin_as_str) {
        pc_write_str_header(e->w, n);
    } else {
        pc_write_bin_header(e->w, n);
    }
    pc_writer_append(e->w, bytes, n);
}

int pc_scalar_write_atom(struct pc_encoder *e, PyObject *atom);

/* Writes the value that the VM has for an atom: nil, true, false, nan, infinity, neg_infinity. False for any other text. */
enum { PC_SCALAR_SPECIAL_MOST = 9 }; /* bytes */
bool pc_scalar_write_special(struct pc_writer *w, PyObject *atom);

int pc_scalar_write_bytearray(struct pc_encoder *e, PyObject *value);

/* 1 when it is not a memoryview of plain bytes. */
int pc_scalar_write_memoryview(struct pc_encoder *e, PyObject *value);

/* A number by __index__ or a scalar of NumPy; 1 when it is neither. */
int pc_scalar_write_number(struct pc_encoder *e, PyObject *value);

/* Turns the UnicodeEncodeError for a str into an EncodeError, whose reason `advice` ends; others stay as they are. -1. */
int pc_scalar_surrogate_error(PyObject *text, const char *advice);

/* The EncodeError for what has no form on the wire; -1. */
int pc_scalar_unsupported(struct pc_encoder *e, PyObject *value);

#endif
