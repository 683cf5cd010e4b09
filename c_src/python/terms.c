/* The classes are Python's (python/pitcrew/terms.py); here are their bytes. */

#include "terms.h"

#include "codec/calendar.h"
#include "lazy.h"

enum { OTHER_TYPE = 1 };

static int write_data(struct pc_encoder *e, int8_t type, PyObject *value) {
    PyObject *data = PyObject_GetAttrString(value, "data");
    Py_buffer view;
    int result = data == NULL ? -1 : PyObject_GetBuffer(data, &view, PyBUF_SIMPLE);
    if (result == 0) {
        pc_write_ext(e->w, type, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    Py_XDECREF(data);
    return result;
}

int pc_term_write_opaque(struct pc_encoder *e, PyObject *value) {
    int is = pc_lazy_is(value, PC_LAZY_OPAQUE);
    return is > 0 ? write_data(e, PC_EXT_OPAQUE, value) : is < 0 ? -1 : OTHER_TYPE;
}

/* An attribute as a C number between two bounds. */
static int read_number(PyObject *value, const char *name, long long least, long long most, long long *number) {
    PyObject *attribute = PyObject_GetAttrString(value, name);
    if (attribute == NULL) {
        return -1;
    }
    *number = PyLong_AsLongLong(attribute);
    Py_DECREF(attribute);
    if (*number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (*number < least || *number > most) {
        PyErr_Format(pc_EncodeError, "%s is %lld, and must lie between %lld and %lld", name, *number, least, most);
        return -1;
    }
    return 0;
}

static int write_timestamp(struct pc_encoder *e, PyObject *value) {
    long long seconds, nanoseconds;
    if (read_number(value, "seconds", LLONG_MIN, LLONG_MAX, &seconds) < 0 ||
        read_number(value, "nanoseconds", 0, 999999999, &nanoseconds) < 0) {
        return -1;
    }
    pc_write_timestamp(e->w, (struct pc_timestamp){.seconds = seconds, .nanoseconds = (uint32_t)nanoseconds});
    return 0;
}

static int write_ext(struct pc_encoder *e, PyObject *value) {
    long long type;
    if (read_number(value, "type", INT8_MIN, INT8_MAX, &type) < 0) {
        return -1;
    }
    return write_data(e, (int8_t)type, value);
}

int pc_term_write_ext(struct pc_encoder *e, PyObject *value) {
    int is = e->opts->keep_ext ? pc_lazy_is(value, PC_LAZY_EXT) : 0;
    if (is != 0) {
        return is < 0 ? -1 : write_ext(e, value);
    }
    is = e->opts->keep_ext ? pc_lazy_is(value, PC_LAZY_TIMESTAMP) : 0;
    return is > 0 ? write_timestamp(e, value) : is < 0 ? -1 : OTHER_TYPE;
}

PyObject *pc_term_read_opaque(const uint8_t *payload, uint32_t n) {
    PyObject *class = pc_lazy_get(PC_LAZY_OPAQUE);
    return class == NULL ? NULL : PyObject_CallFunction(class, "y#", (const char *)payload, (Py_ssize_t)n);
}

PyObject *pc_term_read_ext(int8_t type, const uint8_t *payload, uint32_t n) {
    PyObject *class = pc_lazy_get(PC_LAZY_EXT);
    return class == NULL ? NULL : PyObject_CallFunction(class, "iy#", (int)type, (const char *)payload, (Py_ssize_t)n);
}
