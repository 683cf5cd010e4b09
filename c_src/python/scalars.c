/*
 * Values that hold no others. Nothing here knows of depth or paths: an EncodeError is raised with its reason alone.
 */

#include "scalars.h"

#include <string.h>

#include "bigint.h"
#include "codec/ext.h"

static int fail(const char *reason) {
    PyErr_SetString(pc_EncodeError, reason);
    return -1;
}

static int surrogate_error(PyObject *text) {
    PyObject *exception = pc_exception_take();
    if (!PyErr_GivenExceptionMatches(exception, PyExc_UnicodeEncodeError)) {
        pc_exception_restore(exception);
        return -1;
    }
    Py_ssize_t at = 0;
    if (PyUnicodeEncodeError_GetStart(exception, &at) == 0 && at < PyUnicode_GET_LENGTH(text)) {
        char code[8]; /* CPython's own formatter has no %X before 3.12 */
        (void)PyOS_snprintf(code, sizeof code, "%04X", (unsigned)PyUnicode_READ_CHAR(text, at) & 0xffff);
        PyErr_Format(pc_EncodeError,
                     "this str holds the surrogate U+%s at index %zd, which UTF-8 has no form for; send bytes", code,
                     at);
    }
    Py_DECREF(exception);
    return -1;
}

/* Python keeps the UTF-8 form of a str that was asked for it; a long one is converted aside instead. */
enum { CACHED_UTF8_MOST = 256 };

int pc_scalar_write_str(struct pc_writer *w, PyObject *text) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_ASCII(text)) {
        pc_write_str(w, PyUnicode_DATA(text), (size_t)n);
        return 0;
    }
    if (n <= CACHED_UTF8_MOST) {
        const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
        if (utf8 == NULL) {
            return surrogate_error(text);
        }
        pc_write_str(w, utf8, (size_t)n);
        return 0;
    }
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    if (bytes == NULL) {
        return surrogate_error(text);
    }
    pc_write_str(w, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return 0;
}

int pc_scalar_write_atom(struct pc_writer *w, PyObject *atom) {
    Py_ssize_t n;
    const char *utf8 = PyUnicode_AsUTF8AndSize(atom, &n);
    if (utf8 == NULL) {
        return surrogate_error(atom);
    }
    if (PyUnicode_GET_LENGTH(atom) > 255) {
        return fail("an atom has at most 255 characters");
    }
    pc_write_ext(w, PC_EXT_ATOM, utf8, (size_t)n);
    return 0;
}

int pc_scalar_write_int(struct pc_writer *w, PyObject *value) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        pc_write_int(w, small);
        return small == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (overflow > 0) {
        unsigned long long big = PyLong_AsUnsignedLongLong(value);
        if (!(big == (unsigned long long)-1 && PyErr_Occurred())) {
            pc_write_uint(w, big);
            return 0;
        }
        PyErr_Clear();
    }
    return pc_bigint_encode(w, value);
}

int pc_scalar_write_memoryview(struct pc_writer *w, PyObject *value) {
    const Py_buffer *buffer = PyMemoryView_GET_BUFFER(value);
    if (buffer->itemsize != 1 || !PyBuffer_IsContiguous(buffer, 'C')) {
        return fail(
            "only a contiguous memoryview of bytes can be sent; use .tobytes(), or .cast('B') for its raw bytes");
    }
    Py_buffer view; /* a request of its own: it fails when the memoryview has been released */
    if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    pc_write_bin(w, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return 0;
}

static int unsupported(PyObject *value) {
    const char *hint = "";
    if (PyAnySet_Check(value)) {
        hint = "; send a list";
    } else if (PyGen_Check(value) || PyAsyncGen_CheckExact(value)) {
        hint = ": this version of Pitcrew has no streams; send a list";
    } else if (PyCoro_CheckExact(value)) {
        hint = ": this version of Pitcrew does not run coroutines; use asyncio.run in the tool";
    } else if (PyObject_CheckBuffer(value)) {
        hint = "; send .tolist() or .tobytes()";
    }
    PyObject *name = pc_type_name(Py_TYPE(value));
    if (name != NULL) {
        PyErr_Format(pc_EncodeError, "an object of type %U cannot be sent%s", name, hint);
        Py_DECREF(name);
    }
    return -1;
}

/* NumPy's scalars that are neither int nor float nor give __index__, and that a float64 or a bool holds without loss. */
static int write_numpy(struct pc_writer *w, PyObject *value) {
    const char *name = Py_TYPE(value)->tp_name;
    if (strcmp(name, "numpy.float32") == 0 || strcmp(name, "numpy.float16") == 0) {
        double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        pc_write_double(w, number);
        return 0;
    }
    if (strcmp(name, "numpy.bool_") == 0 || strcmp(name, "numpy.bool") == 0) {
        int truth = PyObject_IsTrue(value);
        if (truth >= 0) {
            pc_write_bool(w, truth != 0);
        }
        return truth < 0 ? -1 : 0;
    }
    return 1; /* none of these */
}

int pc_scalar_write_other(struct pc_writer *w, PyObject *value) {
    int result = write_numpy(w, value);
    if (result <= 0) {
        return result;
    }
    /* An array of one element has __index__ too, but it is no number. */
    if (!PyIndex_Check(value) || PySequence_Check(value)) {
        return unsupported(value);
    }
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        return -1;
    }
    result = pc_scalar_write_int(w, number);
    Py_DECREF(number);
    return result;
}
