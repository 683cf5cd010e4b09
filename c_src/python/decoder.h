#ifndef PC_PYTHON_DECODER_H
#define PC_PYTHON_DECODER_H

/* What the parts of the decoder share. */

#include "decode.h"
#include "text.h"

/* One value; `frozen` as pc_decode_frozen. */
PyObject *pc_decode_any(struct pc_decoder *d, bool frozen);

/* decode_map.c: the n pairs of a map. */
PyObject *pc_decode_dict(struct pc_decoder *d, uint32_t n, bool frozen);

/* A str, or bytes, as the options say. */
static inline PyObject *pc_decode_str(struct pc_decoder *d, const uint8_t *utf8, uint32_t n) {
    if (d->opts->raw) {
        return PyBytes_FromStringAndSize((const char *)utf8, (Py_ssize_t)n);
    }
    PyObject *text = pc_text_new(utf8, n, d->opts->errors);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        PyErr_SetString(pc_DecodeError, "a str that is not UTF-8");
    }
    return text;
}

#endif
