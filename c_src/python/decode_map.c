/* Maps and their keys. References: as in decode.c. */

#include "decoder.h"
#include "keys.h"
#include "names.h"
#include "types.h"

static PyObject *decode_name(struct pc_decoder *d, const uint8_t *utf8, uint32_t n) {
    if (d->opts->raw) {
        return pc_decode_str(d, utf8, n);
    }
    PyObject *key = pc_name_get(utf8, n);
    if (key == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return pc_decode_str(d, utf8, n);
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
    return pc_decode_any(d, true);
}

void pc_decode_key_failed(struct pc_decoder *d, const char *what) {
    pc_path_clear(&d->path);
    if (!PyErr_ExceptionMatches(pc_DecodeError)) {
        return;
    }
    PyObject *exception = pc_exception_take();
    PyErr_Format(pc_DecodeError, "in %s: %S", what, exception);
    Py_DECREF(exception);
}

static inline int decode_pair(struct pc_decoder *d, PyObject *dict, bool frozen) {
    PyObject *key = pc_decode_key(d);
    if (key == NULL) {
        pc_decode_key_failed(d, "a key");
        return -1;
    }
    PyObject *value = pc_decode_any(d, frozen);
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

PyObject *pc_decode_dict(struct pc_decoder *d, uint32_t n, bool frozen) {
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
