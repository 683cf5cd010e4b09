/* See keys.h. */

#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include "encode.h"

/* Whether two keys that Python calls equal are the same value: they have the same bytes on the wire. */
static int same_value(PyObject *a, PyObject *b) {
    struct pc_writer wa, wb;
    pc_writer_init(&wa, NULL, 0, PC_MAX_FRAME, pc_grow_malloc, NULL);
    pc_writer_init(&wb, NULL, 0, PC_MAX_FRAME, pc_grow_malloc, NULL);
    int result = -1;
    if (pc_encode(&wa, a, PC_MAX_DEPTH, "key") == 0 && pc_encode(&wb, b, PC_MAX_DEPTH, "key") == 0) {
        result = wa.len == wb.len && memcmp(wa.data, wb.data, wa.len) == 0;
    }
    free(wa.data);
    free(wb.data);
    return result;
}

/* One key of a map that is shorter than it should be: an error if it equals another one that was another term. */
static int check_key(PyObject *seen, PyObject *key) {
    PyObject *first = PyDict_GetItemWithError(seen, key);
    if (first == NULL) {
        return PyErr_Occurred() ? -1 : PyDict_SetItem(seen, key, key);
    }
    int same = same_value(first, key);
    if (same == 0) {
        PyErr_Format(pc_DecodeError, "the keys %R and %R are equal in Python, so a dict cannot hold both", first, key);
    }
    return same > 0 ? 0 : -1;
}

int pc_keys_check(const struct pc_decoder *d, const uint8_t *start, uint32_t n) {
    struct pc_decoder again;
    pc_decoder_init(&again, start, (size_t)(d->r.p - start), d->depth_left);
    again.owed = 2 * (uint64_t)n;
    PyObject *seen = PyDict_New();
    int result = seen == NULL ? -1 : 0;
    for (uint32_t i = 0; result == 0 && i < n; i++) {
        PyObject *key = pc_decode_key(&again);
        result = key == NULL ? -1 : check_key(seen, key);
        Py_XDECREF(key);
        (void)pc_reader_skip(&again.r);
        again.owed--;
    }
    Py_XDECREF(seen);
    pc_decoder_destroy(&again);
    return result;
}
