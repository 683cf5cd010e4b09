/* The values of extensions. What lies inside a payload has a reader and a debt of its own. */

#include "arrow.h"
#include "bigint.h"
#include "codec/ext.h"
#include "decimals.h"
#include "decode.h"
#include "function.h"
#include "keys.h"
#include "loans.h"
#include "names.h"
#include "refs.h"
#include "tensors.h"
#include "terms.h"
#include "times.h"

/* ---- Payloads that hold values */

static int read_count(struct pc_decoder *d, uint32_t *n) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return -1;
    }
    if (t.type != PC_ARRAY) {
        pc_decode_fail(PC_INVALID);
        return -1;
    }
    *n = t.len;
    return 0;
}

static PyObject *read_tuple(struct pc_decoder *d, bool frozen) {
    uint32_t n;
    PyObject *tuple = read_count(d, &n) < 0 ? NULL : PyTuple_New((Py_ssize_t)n);
    for (uint32_t i = 0; tuple != NULL && i < n; i++) {
        PyObject *item = frozen ? pc_decode_frozen(d) : pc_decode_value(d);
        if (item == NULL) {
            pc_path_push_index(&d->path, (Py_ssize_t)i);
            Py_CLEAR(tuple);
        } else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
        }
    }
    return tuple;
}

static int add_elements(struct pc_decoder *d, PyObject *set, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        PyObject *item = pc_decode_frozen(d);
        int added = item == NULL ? -1 : PySet_Add(set, item);
        Py_XDECREF(item);
        if (added < 0) {
            pc_decode_key_failed(d, "an element");
            return -1;
        }
    }
    return 0;
}

static PyObject *read_set(struct pc_decoder *d, bool frozen) {
    uint32_t n;
    PyObject *set = read_count(d, &n) < 0 ? NULL : frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    const uint8_t *start = d->r.p;
    if (set != NULL &&
        (add_elements(d, set, n) < 0 || (PySet_GET_SIZE(set) != (Py_ssize_t)n && pc_keys_check_set(d, start, n) < 0))) {
        Py_CLEAR(set);
    }
    return set;
}

static PyObject *read_decimal(struct pc_decoder *d, bool frozen) {
    (void)frozen;
    return pc_decimal_read(d);
}

static PyObject *inside(struct pc_decoder *d, const struct pc_token *t, bool frozen,
                        PyObject *(*read)(struct pc_decoder *, bool)) {
    if (pc_decode_enter(d) < 0) {
        return NULL;
    }
    struct pc_reader after = d->r;
    uint64_t owed = d->owed;
    pc_reader_init(&d->r, t->data, t->len);
    d->owed = 1;
    PyObject *value = read(d, frozen);
    if (value != NULL && pc_reader_left(&d->r) > 0) {
        Py_CLEAR(value);
        pc_decode_fail(PC_INVALID);
    }
    d->r = after;
    d->owed = owed;
    pc_decode_leave(d);
    return value;
}

/* ---- The others */

static PyObject *read_atom(const struct pc_token *t) {
    PyObject *atom = pc_name_get_atom(t->data, t->len);
    if (atom == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        PyErr_SetString(pc_DecodeError, "an atom that is not UTF-8");
    }
    return atom;
}

static PyObject *read_foreign(struct pc_decoder *d, const struct pc_token *t) {
    if (!d->opts->keep_ext) {
        PyErr_Format(pc_DecodeError, "extension type %d has no meaning in this version of Pitcrew", (int)t->ext);
        return NULL;
    }
    if (d->opts->ext_hook != NULL) {
        return PyObject_CallFunction(d->opts->ext_hook, "iy#", (int)t->ext, (const char *)t->data, (Py_ssize_t)t->len);
    }
    return pc_term_read_ext(t->ext, t->data, t->len);
}

PyObject *pc_decode_ext(struct pc_decoder *d, const struct pc_token *t, bool frozen) {
    if (t->ext == PC_EXT_TIMESTAMP) {
        return pc_time_read_timestamp(d->opts->timestamps, t->data, t->len);
    }
    if (d->opts->plain) {
        return read_foreign(d, t);
    }
    switch (t->ext) {
    case PC_EXT_ATOM:
        return read_atom(t);
    case PC_EXT_BIGINT:
        return pc_bigint_decode(t->data, t->len);
    case PC_EXT_TUPLE:
        return inside(d, t, frozen, read_tuple);
    case PC_EXT_SET:
        return inside(d, t, frozen, read_set);
    case PC_EXT_DATE:
    case PC_EXT_TIME:
    case PC_EXT_NAIVE_DATETIME:
    case PC_EXT_DATETIME:
        return pc_time_read(t->ext, t->data, t->len);
    case PC_EXT_DECIMAL:
        return inside(d, t, frozen, read_decimal);
    case PC_EXT_TENSOR:
        return pc_tensor_read(frozen ? NULL : d->loans, t->data, t->len, frozen);
    case PC_EXT_ARROW:
        return pc_arrow_read(t->data, t->len);
    case PC_EXT_FUNCTION:
        return d->call != 0 ? pc_function_read(d->call, t->data, t->len) : read_foreign(d, t);
    case PC_EXT_ITERATOR:
        return d->call != 0 && !frozen ? pc_function_read_iterator(d->call, t->data, t->len) : read_foreign(d, t);
    case PC_EXT_OPAQUE:
        return pc_term_read_opaque(t->data, t->len);
    case PC_EXT_REF:
        return d->opts->refs ? pc_ref_read(t->data, t->len) : read_foreign(d, t);
    case PC_EXT_SEGMENT:
        return d->loans != NULL && !frozen ? pc_loan_read(d, t) : read_foreign(d, t);
    default:
        return read_foreign(d, t);
    }
}
