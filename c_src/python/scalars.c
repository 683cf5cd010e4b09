/*
 * Values that hold no others. Nothing here knows of depth or paths: an EncodeError is raised with its reason alone.
 */

#include "scalars.h"

#include <math.h>

#include "bigint.h"
#include "lazy.h"

enum { OTHER_TYPE = 1 };

#define SEND_BYTES "; send bytes"

int pc_scalar_surrogate_error(PyObject *text, const char *advice) {
    PyObject *exception = pc_exception_take();
    if (!PyErr_GivenExceptionMatches(exception, PyExc_UnicodeEncodeError)) {
        pc_exception_restore(exception);
        return -1;
    }
    Py_ssize_t at = 0;
    if (PyUnicodeEncodeError_GetStart(exception, &at) == 0 && at < PyUnicode_GET_LENGTH(text)) {
        char code[8]; /* CPython's own formatter has no %X before 3.12 */
        (void)PyOS_snprintf(code, sizeof code, "%04X", (unsigned)PyUnicode_READ_CHAR(text, at) & 0xffff);
        PyErr_Format(pc_EncodeError, "this str holds the surrogate U+%s at index %zd, which UTF-8 has no form for%s",
                     code, at, advice);
    }
    Py_DECREF(exception);
    return -1;
}

/* Python keeps the UTF-8 form of a str that was asked for it; a long one is converted aside instead. */
enum { CACHED_UTF8_MOST = 256 };

static void write_utf8(struct pc_encoder *e, const char *utf8, size_t n) {
    if (!pc_lent_write(e, PC_SEGMENT_STR, utf8, n)) {
        pc_write_str(e->w, utf8, n);
    }
}

static int write_str_aside(struct pc_encoder *e, PyObject *text) {
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", e->opts->errors);
    if (bytes == NULL) {
        return pc_scalar_surrogate_error(text, SEND_BYTES);
    }
    write_utf8(e, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return 0;
}

static int write_str(struct pc_encoder *e, PyObject *text) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_ASCII(text)) {
        write_utf8(e, PyUnicode_DATA(text), (size_t)n);
        return 0;
    }
    if (n > CACHED_UTF8_MOST || e->opts->errors != NULL) {
        return write_str_aside(e, text);
    }
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8 == NULL) {
        return pc_scalar_surrogate_error(text, SEND_BYTES);
    }
    pc_write_str(e->w, utf8, (size_t)n);
    return 0;
}

/* Owns its argument: an error handler and a garbage collection may run Python code. */
int pc_scalar_write_str_slow(struct pc_encoder *e, PyObject *text) {
    Py_INCREF(text);
    int result = write_str(e, text);
    Py_DECREF(text);
    return result;
}

static const struct {
    const char *text;
    char form; /* a double, or nil, or a bool */
    double number;
} specials[] = {
    {"nil", 'n', 0},
    {"true", 'b', 1},
    {"false", 'b', 0},
    {"nan", 'd', NAN},
    {"infinity", 'd', INFINITY},
    {"neg_infinity", 'd', -INFINITY},
};

bool pc_scalar_write_special(struct pc_writer *w, PyObject *atom) {
    size_t i = 0, n = sizeof specials / sizeof *specials;
    while (i < n && PyUnicode_CompareWithASCIIString(atom, specials[i].text) != 0) {
        i++;
    }
    if (i == n) {
        return false;
    }
    switch (specials[i].form) {
    case 'n':
        pc_write_nil(w);
        break;
    case 'b':
        pc_write_bool(w, specials[i].number != 0);
        break;
    default:
        pc_write_double(w, specials[i].number);
    }
    return true;
}

int pc_scalar_write_atom(struct pc_encoder *e, PyObject *atom) {
    if (e->opts->as_terms && pc_scalar_write_special(e->w, atom)) {
        return 0;
    }
    Py_ssize_t n;
    const char *utf8 = PyUnicode_AsUTF8AndSize(atom, &n);
    if (utf8 == NULL) {
        return pc_scalar_surrogate_error(atom, SEND_BYTES);
    }
    if (PyUnicode_GET_LENGTH(atom) > 255) {
        return pc_encode_fail("an atom has at most 255 characters");
    }
    pc_write_ext(e->w, PC_EXT_ATOM, utf8, (size_t)n);
    return 0;
}

/* Beyond 64 bits. With a fallback the caller's own function gets it, as it does what has no form. */
static int write_big(struct pc_encoder *e, PyObject *value) {
    if (!e->opts->plain) {
        return pc_bigint_encode(e->w, value);
    }
    if (e->opts->fallback != NULL && pc_encode_enter(e) == 0) {
        PyObject *made = PyObject_CallOneArg(e->opts->fallback, value);
        int result = made == NULL ? -1 : pc_encode_value(e, made);
        Py_XDECREF(made);
        pc_encode_leave(e);
        return result;
    }
    return PyErr_Occurred() ? -1
                            : pc_encode_fail("an int that does not fit 64 bits; types=\"pitcrew\" has a form for it");
}

static int write_int(struct pc_encoder *e, PyObject *value) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        pc_write_int(e->w, small);
        return small == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (overflow > 0) {
        unsigned long long big = PyLong_AsUnsignedLongLong(value);
        if (!(big == (unsigned long long)-1 && PyErr_Occurred())) {
            pc_write_uint(e->w, big);
            return 0;
        }
        PyErr_Clear();
    }
    return write_big(e, value);
}

int pc_scalar_write_int_slow(struct pc_encoder *e, PyObject *value) {
    Py_INCREF(value);
    int result = write_int(e, value);
    Py_DECREF(value);
    return result;
}

/* Through a buffer, so that nobody changes its size meanwhile. */
int pc_scalar_write_bytearray(struct pc_encoder *e, PyObject *value) {
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    pc_scalar_write_bytes(e, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return 0;
}

/* Bytes in one dimension, whatever their stride. */
static bool is_bytes(const Py_buffer *buffer) {
    const char *format = buffer->format;
    return buffer->ndim == 1 && buffer->itemsize == 1 &&
           (format == NULL || strcmp(format, "B") == 0 || strcmp(format, "c") == 0);
}

int pc_scalar_write_memoryview(struct pc_encoder *e, PyObject *value) {
    Py_buffer view; /* a request of its own: it fails when the memoryview has been released */
    if (PyObject_GetBuffer(value, &view, PyBUF_FULL_RO) < 0) {
        return -1;
    }
    int result = OTHER_TYPE;
    if (is_bytes(&view) && PyBuffer_IsContiguous(&view, 'C')) {
        pc_scalar_write_bytes(e, view.buf, (size_t)view.len);
        result = 0;
    } else if (is_bytes(&view)) {
        PyObject *bytes = PyBytes_FromObject(value);
        result = bytes == NULL ? -1 : 0;
        if (bytes != NULL) {
            pc_scalar_write_bytes(e, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
            Py_DECREF(bytes);
        }
    }
    PyBuffer_Release(&view);
    return result;
}

/* ---- Numbers of other libraries */

/* NumPy's scalars that are neither int nor float nor give __index__, and that a float64 or a bool holds without loss. */
static int write_numpy(struct pc_encoder *e, PyObject *value) {
    const char *name = Py_TYPE(value)->tp_name;
    if (strcmp(name, "numpy.float32") == 0 || strcmp(name, "numpy.float16") == 0) {
        double number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        pc_write_double(e->w, number);
        return 0;
    }
    if (strcmp(name, "numpy.bool_") == 0 || strcmp(name, "numpy.bool") == 0) {
        int truth = PyObject_IsTrue(value);
        if (truth >= 0) {
            pc_write_bool(e->w, truth != 0);
        }
        return truth < 0 ? -1 : 0;
    }
    return OTHER_TYPE;
}

int pc_scalar_write_number(struct pc_encoder *e, PyObject *value) {
    int result = write_numpy(e, value);
    if (result != OTHER_TYPE || !PyIndex_Check(value)) {
        return result;
    }
    /* An array of one element has __index__ too, but it is no number; NumPy's own integers export a buffer. */
    if (PySequence_Check(value) || PyObject_CheckBuffer(value)) {
        int scalar = PySequence_Check(value) ? 0 : pc_lazy_is(value, PC_LAZY_NUMPY_GENERIC);
        if (scalar <= 0) {
            return scalar < 0 ? -1 : OTHER_TYPE;
        }
    }
    PyObject *number = PyNumber_Index(value);
    result = number == NULL ? -1 : pc_scalar_write_int_slow(e, number);
    Py_XDECREF(number);
    return result;
}

/* ---- What cannot be sent */

static const char *hint_for(const struct pc_encoder *e, PyObject *value, const char *name) {
    if (strncmp(name, "pandas.", 7) == 0) {
        return ": of pandas only a DataFrame has a form; send .to_frame(), .tolist() or .to_pydatetime()";
    }
    if (strncmp(name, "polars.", 7) == 0) {
        return ": of polars only a DataFrame has a form; send .collect(), .to_frame() or .to_list()";
    }
    if (PyGen_Check(value) || PyAsyncGen_CheckExact(value)) {
        return ": it is a stream, whose chunks the caller takes with Pitcrew.stream; or send a list";
    }
    if (PyCoro_CheckExact(value)) {
        return ": a coroutine is run only where it is all that the tool returns; await it in the tool";
    }
    if (e->opts->plain) {
        return ": MessagePack has no form for it; default= can make one, and types=\"pitcrew\" has more types";
    }
    return "; pitcrew.register_type can say what to send";
}

int pc_scalar_unsupported(struct pc_encoder *e, PyObject *value) {
    PyObject *name = pc_type_name(Py_TYPE(value));
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    if (text != NULL) {
        PyErr_Format(pc_EncodeError, "an object of type %U cannot be sent%s", name, hint_for(e, value, text));
    }
    Py_XDECREF(name);
    return -1;
}
