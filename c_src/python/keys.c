/* See keys.h. A second decoder goes over the same bytes: this is rare, so nothing is kept for it. */

#include "keys.h"

#include <string.h>

#include "codec.h"
#include "codec/ext.h"
#include "codec/limits.h"
#include "lazy.h"

/*
 * Whether two keys that Python calls equal are the same value: they have the same bytes on the wire. What has none, such as an
 * ext_hook's own object, is what its class says.
 */
static int same_value(PyObject *a, PyObject *b) {
    const struct pc_encode_opts opts = {.keep_ext = true, .max_depth = PC_MAX_DEPTH};
    PyObject *bytes_of_a = pc_codec_pack(a, &opts, PC_MAX_FRAME, "key");
    PyObject *bytes_of_b = bytes_of_a == NULL ? NULL : pc_codec_pack(b, &opts, PC_MAX_FRAME, "key");
    int result = bytes_of_b == NULL ? -1 : PyObject_RichCompareBool(bytes_of_a, bytes_of_b, Py_EQ);
    Py_XDECREF(bytes_of_a);
    Py_XDECREF(bytes_of_b);
    if (result < 0 && PyErr_ExceptionMatches(pc_EncodeError)) {
        PyErr_Clear();
        result = Py_TYPE(a) == Py_TYPE(b);
    }
    return result;
}

/* One key: an error if it equals another one that was another term. */
static int check_key(PyObject *seen, PyObject *key, bool is_map) {
    PyObject *first = PyDict_GetItemWithError(seen, key);
    if (first == NULL) {
        return PyErr_Occurred() ? -1 : PyDict_SetItem(seen, key, key);
    }
    int same = same_value(first, key);
    if (same == 0) {
        PyErr_Format(pc_DecodeError, "the %s %R and %R are equal in Python, so a %s cannot hold both",
                     is_map ? "keys" : "elements", first, key, is_map ? "dict" : "set");
    }
    return same > 0 ? 0 : -1;
}

/* A decoder for what begins at `start` and ends where d stands. Goes back with again_end, whatever happened. */
static int again_begin(struct pc_decoder *again, const struct pc_decoder *d, const uint8_t *start, uint64_t owed) {
    size_t n = (size_t)(d->r.p - start);
    pc_decoder_init(again, start, n, d->depth_left);
    again->opts = d->opts;
    again->call = d->call;
    again->loans = d->loans;
    again->behind = d->behind;
    again->behind_count = d->behind_count;
    again->owed = owed;
    again->again_left = 0;
    if (d->again_left <= n) {
        PyErr_SetString(pc_DecodeError, "too many equal keys of maps inside one another");
        return -1;
    }
    again->again_left = d->again_left - n - 1;
    return 0;
}

static void again_end(struct pc_decoder *again, struct pc_decoder *d) {
    d->again_left = again->again_left;
    pc_decoder_destroy(again);
}

static PyObject *read_element(struct pc_decoder *d, bool is_map) {
    if (!is_map) {
        return pc_decode_frozen(d);
    }
    PyObject *key = pc_decode_key(d);
    if (key != NULL) {
        (void)pc_reader_skip(&d->r);
        d->owed--;
    }
    return key;
}

static int check(struct pc_decoder *d, const uint8_t *start, uint32_t n, bool is_map) {
    struct pc_decoder again;
    int result = again_begin(&again, d, start, is_map ? 2 * (uint64_t)n : n);
    PyObject *seen = result < 0 ? NULL : PyDict_New();
    for (uint32_t i = 0; seen != NULL && result == 0 && i < n; i++) {
        PyObject *key = read_element(&again, is_map);
        result = key == NULL ? -1 : check_key(seen, key, is_map);
        Py_XDECREF(key);
    }
    again_end(&again, d);
    if (seen == NULL) {
        return -1;
    }
    Py_DECREF(seen);
    return result;
}

int pc_keys_check_set(struct pc_decoder *d, const uint8_t *start, uint32_t n) { return check(d, start, n, false); }

/* ---- Keys that are kept apart */

static PyObject *read_pair(struct pc_decoder *d) {
    PyObject *key = pc_decode_key(d);
    PyObject *value = key == NULL ? NULL : pc_decode_value(d);
    if (key != NULL && value == NULL) {
        pc_path_push_key(&d->path, key);
    }
    PyObject *pair = value == NULL ? NULL : PyTuple_Pack(2, key, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

static PyObject *map_of_pairs(struct pc_decoder *d, const uint8_t *start, uint32_t n) {
    struct pc_decoder again;
    PyObject *pairs = again_begin(&again, d, start, 2 * (uint64_t)n) < 0 ? NULL : PyList_New(0);
    for (uint32_t i = 0; pairs != NULL && i < n; i++) {
        PyObject *pair = read_pair(&again);
        if (pair == NULL || PyList_Append(pairs, pair) < 0) {
            Py_CLEAR(pairs);
        }
        Py_XDECREF(pair);
    }
    again_end(&again, d);
    PyObject *make = pairs == NULL ? NULL : pc_lazy_get(PC_LAZY_MAP_OF_PAIRS);
    PyObject *map = make == NULL ? NULL : PyObject_CallOneArg(make, pairs);
    Py_XDECREF(pairs);
    return map;
}

/* As a str or as an atom. */
static bool next_is(struct pc_reader *r, const char *word) {
    struct pc_token t;
    if (pc_reader_next(r, &t) != PC_OK || !(t.type == PC_STR || (t.type == PC_EXT && t.ext == PC_EXT_ATOM))) {
        return false;
    }
    return t.len == strlen(word) && memcmp(t.data, word, t.len) == 0;
}

static bool skip(struct pc_reader *r, int values) {
    while (values > 0 && pc_reader_skip(r) == PC_OK) {
        values--;
    }
    return values == 0;
}

/* Whether `meta`, which stands behind so many values, has the key `keys` with the value "strict". */
static bool meta_is_strict(struct pc_reader r, int before) {
    uint32_t n;
    if (!skip(&r, before) || pc_read_map(&r, &n) != PC_OK) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *key = r.p;
        if (next_is(&r, "keys")) {
            return next_is(&r, "strict");
        }
        r.p = key;
        if (!skip(&r, 2)) {
            return false;
        }
    }
    return false;
}

static bool is_strict(const struct pc_decoder *d) {
    if (d->opts->keys != PC_KEYS_UNKNOWN) {
        return d->opts->keys == PC_KEYS_STRICT;
    }
    return meta_is_strict(d->behind, d->behind_count);
}

PyObject *pc_keys_resolve(struct pc_decoder *d, PyObject *dict, const uint8_t *start, uint32_t n, bool frozen) {
    if (check(d, start, n, true) == 0) {
        return Py_NewRef(dict);
    }
    if (frozen || !PyErr_ExceptionMatches(pc_DecodeError) || !is_strict(d)) {
        return NULL;
    }
    PyErr_Clear();
    return map_of_pairs(d, start, n);
}
