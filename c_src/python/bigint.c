/* Goes through int's own methods: CPython's C functions for this change from version to version, and these numbers are rare. */

#include "bigint.h"

#include "codec/ext.h"

enum { SIGN_BYTE = 1 };

/* The magnitude in n + 1 bytes, the last one zero: room for the sign byte. */
static PyObject *magnitude_bytes(PyObject *value) {
    PyObject *magnitude = PyLong_Type.tp_as_number->nb_absolute(value);
    PyObject *bits = magnitude == NULL ? NULL : PyObject_CallMethod(magnitude, "bit_length", NULL);
    size_t n = bits == NULL ? 0 : PyLong_AsSize_t(bits);
    PyObject *bytes = NULL;
    if (bits != NULL && !(n == (size_t)-1 && PyErr_Occurred())) {
        bytes = PyObject_CallMethod(magnitude, "to_bytes", "ns", (Py_ssize_t)((n + 7) / 8) + SIGN_BYTE, "little");
    }
    Py_XDECREF(magnitude);
    Py_XDECREF(bits);
    return bytes;
}

int pc_bigint_encode(struct pc_writer *w, PyObject *value) {
    PyObject *bytes = magnitude_bytes(value);
    if (bytes == NULL) {
        return -1;
    }
    int overflow;
    (void)PyLong_AsLongLongAndOverflow(value, &overflow);
    char *payload = PyBytes_AS_STRING(bytes); /* ours alone until now */
    size_t n = (size_t)PyBytes_GET_SIZE(bytes);
    memmove(payload + SIGN_BYTE, payload, n - SIGN_BYTE);
    payload[0] = overflow < 0;
    pc_write_ext(w, PC_EXT_BIGINT, payload, n);
    Py_DECREF(bytes);
    return 0;
}

PyObject *pc_bigint_decode(const uint8_t *payload, uint32_t n) {
    if (n <= SIGN_BYTE || payload[0] > 1 || payload[n - 1] == 0) {
        PyErr_SetString(pc_DecodeError, "a big integer that is not in its canonical form");
        return NULL;
    }
    PyObject *magnitude = PyObject_CallMethod((PyObject *)&PyLong_Type, "from_bytes", "y#s",
                                              (const char *)payload + SIGN_BYTE, (Py_ssize_t)n - SIGN_BYTE, "little");
    if (magnitude == NULL || payload[0] == 0) {
        return magnitude;
    }
    PyObject *value = PyNumber_Negative(magnitude);
    Py_DECREF(magnitude);
    return value;
}
