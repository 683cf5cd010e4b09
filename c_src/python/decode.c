/*
 * The recursive decoder. Memory is allocated in proportion to the input: every value that a container announces is
 * at least one byte, `owed` adds them up over all open containers, and no count is believed that the bytes left
 * cannot pay for.
 *
 * References: a container owns its elements from the moment they are made (list and tuple slots steal them), so that
 * on failure one Py_DECREF of the container frees everything.
 *
 * `frozen` is set inside a map key and in a set, where lists, maps and sets must be hashable.
 */

#include "decode.h"

#include "keys.h"
#include "names.h"
#include "text.h"
#include "types.h"

const struct pc_decode_opts pc_decode_of_calls = {.timestamps = PC_TIMESTAMPS_DATETIME};

enum { AGAIN_MOST = 64 };

static PyObject *decode_value(struct pc_decoder *d, bool frozen);

void pc_decoder_init(struct pc_decoder *d, const void *data, size_t n, unsigned max_depth) {
    pc_reader_init(&d->r, data, n);
    d->owed = 1;
    d->depth_left = max_depth;
    d->opts = &pc_decode_of_calls;
    d->path.parts = NULL;
    d->behind_count = 0;
    d->again_left = AGAIN_MOST * ((uint64_t)n + 1);
}

void pc_decoder_destroy(struct pc_decoder *d) { pc_path_clear(&d->path); }

void pc_decode_fail(enum pc_status status) {
    if (status == PC_NO_MEMORY) {
        (void)PyErr_NoMemory();
    } else {
        PyErr_SetString(pc_DecodeError, pc_status_text(status));
    }
}

/* A value has been read; if it is a container, its elements are owed now. */
static inline enum pc_status settle(struct pc_decoder *d, uint64_t elements) {
    d->owed += elements - 1;
    return d->owed > pc_reader_left(&d->r) ? PC_TRUNCATED : PC_OK;
}

int pc_decode_token(struct pc_decoder *d, struct pc_token *t) {
    enum pc_status status = pc_reader_next(&d->r, t);
    if (status == PC_OK) {
        status = settle(d, t->type == PC_ARRAY ? t->len : t->type == PC_MAP ? 2 * (uint64_t)t->len : 0);
    }
    if (status != PC_OK) {
        pc_decode_fail(status);
        return -1;
    }
    return 0;
}

int pc_decode_enter(struct pc_decoder *d) {
    if (d->depth_left == 0) {
        pc_decode_fail(PC_TOO_DEEP);
        return -1;
    }
    d->depth_left--;
    return 0;
}

/* ---- str */

static inline PyObject *decode_str(struct pc_decoder *d, const uint8_t *utf8, uint32_t n) {
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

/* ---- Arrays */

static PyObject *decode_list(struct pc_decoder *d, uint32_t n, bool frozen) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    if (list == NULL || pc_decode_enter(d) < 0) {
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
    pc_decode_leave(d);
    if (frozen) {
        Py_SETREF(list, PyObject_CallOneArg((PyObject *)&pc_FrozenList_Type, list));
    }
    return list;
fail:
    Py_XDECREF(list);
    return NULL;
}

static PyObject *decode_array(struct pc_decoder *d, uint32_t n, bool frozen) {
    if (!d->opts->as_tuple) {
        return decode_list(d, n, frozen);
    }
    PyObject *list = decode_list(d, n, frozen);
    PyObject *tuple = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

/* ---- Maps */

static PyObject *decode_name(struct pc_decoder *d, const uint8_t *utf8, uint32_t n) {
    if (d->opts->raw) {
        return decode_str(d, utf8, n);
    }
    PyObject *key = pc_name_get(utf8, n);
    if (key == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return decode_str(d, utf8, n);
    }
    return key;
}

/* Looks at the next byte alone: whether a text key, a str or bytes, can begin with it. */
static bool begins_text(const struct pc_decoder *d) {
    uint8_t head = pc_reader_left(&d->r) > 0 ? *d->r.p : 0xa0;
    return (head >= 0xa0 && head < 0xc0) || (head >= 0xc4 && head <= 0xc6) || (head >= 0xd9 && head <= 0xdb);
}

PyObject *pc_decode_key(struct pc_decoder *d) {
    const uint8_t *p = d->r.p;
    if (p < d->r.end && (*p & 0xe0) == 0xa0 && pc_reader_left(&d->r) > (*p & 0x1fu)) {
        uint32_t n = *p & 0x1fu;
        d->r.p += 1 + n;
        d->owed--;
        return decode_name(d, p + 1, n);
    }
    if (d->opts->text_keys && !begins_text(d)) {
        PyErr_SetString(pc_DecodeError, "a map's key is neither str nor bytes; strict_map_key=False allows it");
        return NULL;
    }
    struct pc_token t;
    uint64_t owed = d->owed;
    if (pc_decode_token(d, &t) < 0) {
        return NULL;
    }
    if (t.type == PC_STR) {
        return decode_name(d, t.data, t.len);
    }
    d->r.p = p;
    d->owed = owed;
    return decode_value(d, true);
}

static inline int decode_pair(struct pc_decoder *d, PyObject *dict, bool frozen) {
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

static PyObject *new_dict(uint32_t n) {
#if PY_VERSION_HEX < 0x030D0000
    return _PyDict_NewPresized((Py_ssize_t)n);
#else
    (void)n;
    return PyDict_New();
#endif
}

static PyObject *decode_dict(struct pc_decoder *d, uint32_t n, bool frozen) {
    const uint8_t *start = d->r.p;
    PyObject *dict = new_dict(n);
    if (dict == NULL || pc_decode_enter(d) < 0) {
        goto fail;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (decode_pair(d, dict, frozen) < 0) {
            goto fail;
        }
    }
    if (PyDict_GET_SIZE(dict) != (Py_ssize_t)n) {
        Py_SETREF(dict, pc_keys_resolve(d, dict, start, n, frozen));
    }
    pc_decode_leave(d);
    if (frozen && dict != NULL) {
        Py_SETREF(dict, PyObject_CallOneArg((PyObject *)&pc_FrozenDict_Type, dict));
    }
    return dict;
fail:
    Py_XDECREF(dict);
    return NULL;
}

/* ---- Dispatch */

static PyObject *decode_rest(struct pc_decoder *d, const struct pc_token *t, bool frozen) {
    switch (t->type) {
    case PC_STR:
        return decode_str(d, t->data, t->len);
    case PC_INT:
        return PyLong_FromLong((long)t->i); /* as wide as int64_t on every system we know, and faster */
    case PC_MAP:
        return decode_dict(d, t->len, frozen);
    case PC_ARRAY:
        return decode_array(d, t->len, frozen);
    case PC_FLOAT:
        return PyFloat_FromDouble(t->f);
    case PC_NIL:
        return Py_NewRef(Py_None);
    case PC_BOOL:
        return PyBool_FromLong(t->b);
    case PC_BIN:
        return PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->len);
    case PC_EXT:
        return pc_decode_ext(d, t, frozen);
    case PC_UINT:
        return PyLong_FromUnsignedLongLong(t->u);
    }
    pc_decode_fail(PC_INVALID);
    return NULL;
}

/* The commonest short forms without a token; a value that is no container owes nothing, so nothing is compared. */
static PyObject *decode_value(struct pc_decoder *d, bool frozen) {
    const uint8_t *p = d->r.p;
    size_t left = pc_reader_left(&d->r);
    uint8_t head = left > 0 ? *p : 0xc1;
    if ((head & 0xe0) == 0xa0 && left > (head & 0x1fu)) {
        d->r.p = p + 1 + (head & 0x1fu);
        d->owed--;
        return decode_str(d, p + 1, head & 0x1fu);
    }
    if (head < 0x80) {
        d->r.p = p + 1;
        d->owed--;
        return pc_text_small_int(head);
    }
    if (head == 0xcb && left >= 9) {
        uint64_t bits = (uint64_t)pc_frame_length(p + 1) << 32 | pc_frame_length(p + 5);
        double number;
        memcpy(&number, &bits, sizeof number);
        d->r.p = p + 9;
        d->owed--;
        return PyFloat_FromDouble(number);
    }
    struct pc_token t;
    return pc_decode_token(d, &t) < 0 ? NULL : decode_rest(d, &t, frozen);
}

PyObject *pc_decode_value(struct pc_decoder *d) { return decode_value(d, false); }

PyObject *pc_decode_frozen(struct pc_decoder *d) { return decode_value(d, true); }

PyObject *pc_decode_rest(struct pc_decoder *d, const struct pc_token *t) { return decode_rest(d, t, false); }
