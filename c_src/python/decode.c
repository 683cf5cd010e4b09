/*
 * The recursive decoder. Memory is allocated in proportion to the input: every value that a container announces is
 * at least one byte, `owed` adds them up over all open containers, and no count is believed that the bytes left
 * cannot pay for.
 *
 * References: a container owns its elements from the moment they are made (list and tuple slots steal them), so that
 * on failure one Py_DECREF of the container frees everything.
 *
 * `frozen` is set inside a map key, where lists and maps must be hashable.
 */

#include "decode.h"

#include "bigint.h"
#include "codec/ext.h"
#include "keys.h"
#include "names.h"
#include "types.h"

static PyObject *decode_value(struct pc_decoder *d, int frozen);

void pc_decoder_init(struct pc_decoder *d, const void *data, size_t n, unsigned max_depth) {
    pc_reader_init(&d->r, data, n);
    d->owed = 1;
    d->depth_left = max_depth;
    d->path.parts = NULL;
}

void pc_decoder_destroy(struct pc_decoder *d) { pc_path_clear(&d->path); }

void pc_decode_fail(enum pc_status status) {
    if (status == PC_NO_MEMORY) {
        (void)PyErr_NoMemory();
    } else {
        PyErr_SetString(pc_DecodeError, pc_status_text(status));
    }
}

int pc_decode_token(struct pc_decoder *d, struct pc_token *t) {
    enum pc_status status = pc_reader_next(&d->r, t);
    if (status == PC_OK) {
        d->owed--;
        if (t->type == PC_ARRAY) {
            d->owed += t->len;
        } else if (t->type == PC_MAP) {
            d->owed += 2 * (uint64_t)t->len;
        }
        status = d->owed > pc_reader_left(&d->r) ? PC_TRUNCATED : PC_OK;
    }
    if (status != PC_OK) {
        pc_decode_fail(status);
        return -1;
    }
    return 0;
}

static int enter(struct pc_decoder *d) {
    if (d->depth_left == 0) {
        pc_decode_fail(PC_TOO_DEEP);
        return -1;
    }
    d->depth_left--;
    return 0;
}

static void leave(struct pc_decoder *d) { d->depth_left++; }

/* ---- str */

static PyObject *decode_str(const struct pc_token *t) {
    PyObject *text = PyUnicode_DecodeUTF8((const char *)t->data, (Py_ssize_t)t->len, "strict");
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        PyErr_SetString(pc_DecodeError, "a str that is not UTF-8");
    }
    return text;
}

/* ---- Arrays and tuples */

static PyObject *decode_list(struct pc_decoder *d, uint32_t n, int frozen) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    if (list == NULL || enter(d) < 0) {
        goto fail;
    }
    for (uint32_t i = 0; i < n; i++) {
        PyObject *item = decode_value(d, frozen);
        if (item == NULL) {
            pc_path_push_index(&d->path, (Py_ssize_t)i);
            goto fail;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    leave(d);
    if (frozen) {
        Py_SETREF(list, PyObject_CallOneArg((PyObject *)&pc_FrozenList_Type, list));
    }
    return list;
fail:
    Py_XDECREF(list);
    return NULL;
}

static PyObject *decode_elements(struct pc_decoder *d, int frozen) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return NULL;
    }
    if (t.type != PC_ARRAY) {
        pc_decode_fail(PC_INVALID);
        return NULL;
    }
    PyObject *tuple = PyTuple_New((Py_ssize_t)t.len);
    for (uint32_t i = 0; tuple != NULL && i < t.len; i++) {
        PyObject *item = decode_value(d, frozen);
        if (item == NULL) {
            pc_path_push_index(&d->path, (Py_ssize_t)i);
            Py_CLEAR(tuple);
        } else {
            PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, item);
        }
    }
    if (tuple != NULL && pc_reader_left(&d->r) > 0) {
        Py_CLEAR(tuple);
        pc_decode_fail(PC_INVALID);
    }
    return tuple;
}

/* The elements lie inside the extension's payload, which has a reader and a debt of its own. */
static PyObject *decode_tuple(struct pc_decoder *d, const struct pc_token *t, int frozen) {
    if (enter(d) < 0) {
        return NULL;
    }
    struct pc_reader after = d->r;
    uint64_t owed = d->owed;
    pc_reader_init(&d->r, t->data, t->len);
    d->owed = 1;
    PyObject *tuple = decode_elements(d, frozen);
    d->r = after;
    d->owed = owed;
    leave(d);
    return tuple;
}

/* ---- Maps */

PyObject *pc_decode_key(struct pc_decoder *d) {
    struct pc_token t;
    const uint8_t *start = d->r.p;
    uint64_t owed = d->owed;
    if (pc_decode_token(d, &t) < 0) {
        return NULL;
    }
    if (t.type == PC_STR) {
        PyObject *key = pc_name_get(t.data, t.len);
        if (key == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_Clear();
            return decode_str(&t);
        }
        return key;
    }
    d->r.p = start;
    d->owed = owed;
    return decode_value(d, 1);
}

static int decode_pair(struct pc_decoder *d, PyObject *dict, int frozen) {
    PyObject *key = pc_decode_key(d);
    if (key == NULL) {
        return -1;
    }
    PyObject *value = decode_value(d, frozen);
    int result = -1;
    if (value == NULL) {
        pc_path_push_key(&d->path, key);
    } else {
        result = PyDict_SetItem(dict, key, value);
        Py_DECREF(value);
    }
    Py_DECREF(key);
    return result;
}

static PyObject *decode_dict(struct pc_decoder *d, uint32_t n, int frozen) {
    const uint8_t *start = d->r.p;
    PyObject *dict = PyDict_New();
    if (dict == NULL || enter(d) < 0) {
        goto fail;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (decode_pair(d, dict, frozen) < 0) {
            goto fail;
        }
    }
    leave(d);
    if (PyDict_GET_SIZE(dict) != (Py_ssize_t)n && pc_keys_check(d, start, n) < 0) {
        goto fail;
    }
    if (frozen) {
        Py_SETREF(dict, PyObject_CallOneArg((PyObject *)&pc_FrozenDict_Type, dict));
    }
    return dict;
fail:
    Py_XDECREF(dict);
    return NULL;
}

/* ---- Extensions */

static PyObject *decode_atom(const struct pc_token *t) {
    PyObject *atom = pc_name_get_atom(t->data, t->len);
    if (atom == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        PyErr_SetString(pc_DecodeError, "an atom that is not UTF-8");
    }
    return atom;
}

static PyObject *decode_ext(struct pc_decoder *d, const struct pc_token *t, int frozen) {
    switch (t->ext) {
    case PC_EXT_ATOM:
        return decode_atom(t);
    case PC_EXT_BIGINT:
        return pc_bigint_decode(t->data, t->len);
    case PC_EXT_TUPLE:
        return decode_tuple(d, t, frozen);
    default:
        PyErr_Format(pc_DecodeError, "extension type %d has no meaning in this version of Pitcrew", (int)t->ext);
        return NULL;
    }
}

static PyObject *decode_rest(struct pc_decoder *d, const struct pc_token *t, int frozen) {
    switch (t->type) {
    case PC_STR:
        return decode_str(t);
    case PC_INT:
        return PyLong_FromLongLong(t->i);
    case PC_MAP:
        return decode_dict(d, t->len, frozen);
    case PC_ARRAY:
        return decode_list(d, t->len, frozen);
    case PC_FLOAT:
        return PyFloat_FromDouble(t->f);
    case PC_NIL:
        return Py_NewRef(Py_None);
    case PC_BOOL:
        return PyBool_FromLong(t->b);
    case PC_BIN:
        return PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->len);
    case PC_EXT:
        return decode_ext(d, t, frozen);
    case PC_UINT:
        return PyLong_FromUnsignedLongLong(t->u);
    }
    pc_decode_fail(PC_INVALID);
    return NULL;
}

static PyObject *decode_value(struct pc_decoder *d, int frozen) {
    struct pc_token t;
    return pc_decode_token(d, &t) < 0 ? NULL : decode_rest(d, &t, frozen);
}

PyObject *pc_decode_value(struct pc_decoder *d) { return decode_value(d, 0); }

PyObject *pc_decode_rest(struct pc_decoder *d, const struct pc_token *t) { return decode_rest(d, t, 0); }
