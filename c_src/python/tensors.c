/* What a dtype is called and which array belongs to it is Python's business; here are the bytes, copied once. */

#include "tensors.h"

#include "blocks.h"
#include "lazy.h"
#include "lent.h"
#include "loans.h"

enum { OTHER_TYPE = 1, FIELDS = 3 };

/* Whether the value is an array. NumPy's scalars have buffers too, but are numbers, or refused. */
static int is_array(PyObject *value) {
    int is = pc_lazy_is(value, PC_LAZY_TENSOR);
    if (is != 0) {
        return is;
    }
    is = pc_lazy_is(value, PC_LAZY_GIVEN);
    if (is != 0) {
        return is;
    }
    is = PyObject_CheckBuffer(value) ? pc_lazy_is(value, PC_LAZY_NUMPY_GENERIC) : 1;
    if (is == 0) {
        return 1;
    }
    /* Arrays of NumPy's whose dtype has no buffer format say so themselves. */
    return is < 0 ? -1 : pc_lazy_is(value, PC_LAZY_NUMPY_ARRAY);
}

static int write_shape(struct pc_encoder *e, PyObject *shape) {
    pc_write_array(e->w, (size_t)PyTuple_GET_SIZE(shape));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(shape); i++) {
        Py_ssize_t n = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        if (n == -1 && PyErr_Occurred()) {
            return -1;
        }
        pc_write_int(e->w, n);
    }
    return 0;
}

/* `data` is what the view is of. */
static int write_data(struct pc_encoder *e, PyObject *data, const Py_buffer *view) {
    size_t n = (size_t)view->len;
    int given = pc_block_is(data) ? pc_lent_write_block(e, data) : 0;
    if (given == 0 && !pc_lent_write(e, PC_SEGMENT_BIN, view->buf, n)) {
        pc_write_bin(e->w, view->buf, n);
    }
    return given < 0 ? -1 : 0;
}

static int write_parts(struct pc_encoder *e, PyObject *dtype, PyObject *shape, PyObject *data) {
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(dtype, &n);
    Py_buffer view;
    if (text == NULL || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, FIELDS);
    pc_write_str(e->w, text, (size_t)n);
    int result = write_shape(e, shape) < 0 ? -1 : write_data(e, data, &view);
    pc_write_ext_end(e->w, mark, PC_EXT_TENSOR);
    PyBuffer_Release(&view);
    return result;
}

int pc_tensor_write(struct pc_encoder *e, PyObject *value) {
    int is = is_array(value);
    if (is <= 0) {
        return is < 0 ? -1 : OTHER_TYPE;
    }
    PyObject *describe = pc_lazy_get(PC_LAZY_DESCRIBE_TENSOR);
    PyObject *parts = describe == NULL ? NULL : PyObject_CallOneArg(describe, value);
    PyObject *dtype, *shape, *data;
    int result = -1;
    if (parts != NULL && PyArg_ParseTuple(parts, "UO!O", &dtype, &PyTuple_Type, &shape, &data)) {
        result = write_parts(e, dtype, shape, data);
    }
    Py_XDECREF(parts);
    return result;
}

/* ---- Reading */

static PyObject *invalid(void) {
    PyErr_SetString(pc_DecodeError, "a tensor that is not [dtype, shape, data]");
    return NULL;
}

static PyObject *read_shape(struct pc_reader *r) {
    uint32_t n;
    if (pc_read_array(r, &n) != PC_OK) {
        return invalid();
    }
    PyObject *shape = PyTuple_New((Py_ssize_t)n);
    for (uint32_t i = 0; shape != NULL && i < n; i++) {
        int64_t size;
        PyObject *item = pc_read_int(r, &size) == PC_OK && size >= 0 ? PyLong_FromLongLong(size) : invalid();
        if (item == NULL) {
            Py_CLEAR(shape);
        } else {
            PyTuple_SET_ITEM(shape, (Py_ssize_t)i, item);
        }
    }
    return shape;
}

/* A bytearray or a loan, which an array can own and write into. */
static PyObject *read_data(struct pc_loans *loans, struct pc_reader *r) {
    struct pc_token t;
    if (pc_reader_next(r, &t) != PC_OK || pc_reader_left(r) != 0) {
        return invalid();
    }
    if (t.type == PC_EXT && t.ext == PC_EXT_SEGMENT) {
        return pc_loan_read_data(loans, &t);
    }
    if (t.type != PC_BIN) {
        return invalid();
    }
    return PyByteArray_FromStringAndSize((const char *)t.data, (Py_ssize_t)t.len);
}

PyObject *pc_tensor_read(struct pc_loans *loans, const uint8_t *payload, uint32_t n, bool frozen) {
    struct pc_reader r;
    uint32_t fields, length;
    const char *dtype;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &fields) != PC_OK || fields != FIELDS || pc_read_str(&r, &dtype, &length) != PC_OK) {
        return invalid();
    }
    PyObject *shape = read_shape(&r);
    PyObject *data = shape == NULL ? NULL : read_data(loans, &r);
    PyObject *make = data == NULL ? NULL : pc_lazy_get(PC_LAZY_MAKE_TENSOR);
    PyObject *tensor =
        make == NULL ? NULL : PyObject_CallFunction(make, "s#OOi", dtype, (Py_ssize_t)length, shape, data, (int)frozen);
    Py_XDECREF(shape);
    Py_XDECREF(data);
    return tensor;
}
