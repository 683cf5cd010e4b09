/*
 * The recursive encoder: dispatch by exact type in order of frequency; the rest is in encode_other.c.
 *
 * References: containers may be changed by other threads or by __index__ while they are walked, so an element
 * that may run Python code is owned while it is being encoded, sizes are read again at each step, and a count that no
 * longer holds is an error.
 */

#include "encode.h"

#include "encoder.h"
#include "scalars.h"

int pc_encode_fail(const char *reason) {
    PyErr_SetString(pc_EncodeError, reason);
    return -1;
}

int pc_encode_too_deep(void) { return pc_encode_fail("nested too deeply, or a container that holds itself"); }

int pc_encode_too_big(const struct pc_writer *w) {
    PyErr_Format(pc_EncodeError, "larger than the limit of %zu bytes", w->max);
    return -1;
}

int pc_encode_writer_failed(const struct pc_encoder *e) {
    if (e->w->status == PC_NO_MEMORY) {
        (void)PyErr_NoMemory();
        return -1;
    }
    return pc_encode_too_big(e->w);
}

int pc_encode_rest(struct pc_encoder *e, PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyTuple_Type) {
        return pc_encode_tuple(e, value);
    }
    if (type == &PyBytes_Type) {
        pc_scalar_write_bytes(e, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        return 0;
    }
    return pc_encode_other(e, value);
}

/* ---- Sequences */

enum { ROW = 4 }; /* so many numbers may be worth a loop of their own */

static inline bool is_number(PyObject *item) { return PyFloat_CheckExact(item) || PyLong_CheckExact(item); }

/*
 * As many numbers as there are in a row and there is room for; says how many. The writer is a copy, so that it stays in
 * registers.
 */
static Py_ssize_t encode_numbers(struct pc_encoder *e, PyObject *const *items, Py_ssize_t n) {
    struct pc_writer w = *e->w;
    Py_ssize_t i = 0;
    int64_t number;
    if (w.status != PC_OK) {
        return 0;
    }
    for (; i < n && w.cap - w.len >= PC_PACK_MOST; i++) {
        if (PyFloat_CheckExact(items[i])) {
            msgpack_pack_double(&w, PyFloat_AS_DOUBLE(items[i]));
        } else if (PyLong_CheckExact(items[i]) && pc_scalar_small_int(items[i], &number)) {
            msgpack_pack_int64(&w, number);
        } else {
            break;
        }
    }
    e->w->len = w.len;
    return i;
}

PC_ONE_FRAME int encode_item(struct pc_encoder *e, PyObject *item) {
    int done = pc_encode_scalar(e, item);
    return done == 0 ? pc_encode_owned(e, item) : done < 0 ? -1 : 0;
}

int pc_encode_value(struct pc_encoder *e, PyObject *value) { return encode_item(e, value); }

int pc_encode_list(struct pc_encoder *e, PyObject *list) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    Py_ssize_t n = PyList_GET_SIZE(list);
    pc_write_array(e->w, (size_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyList_GET_SIZE(list) != n) {
            return pc_encode_fail("the list changed while it was being encoded");
        }
        if (n - i >= ROW && is_number(PyList_GET_ITEM(list, i))) {
            i += encode_numbers(e, ((PyListObject *)list)->ob_item + i, n - i);
        }
        if (i < n && encode_item(e, PyList_GET_ITEM(list, i)) < 0) {
            pc_path_push_index(&e->path, i);
            return -1;
        }
    }
    pc_encode_leave(e);
    return pc_encode_check(e);
}

static int encode_elements(struct pc_encoder *e, PyObject *tuple) {
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    pc_write_array(e->w, (size_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (pc_encode_value(e, PyTuple_GET_ITEM(tuple, i)) < 0) {
            pc_path_push_index(&e->path, i);
            return -1;
        }
    }
    return 0;
}

int pc_encode_tuple(struct pc_encoder *e, PyObject *tuple) {
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    if (e->opts->plain) {
        if (encode_elements(e, tuple) < 0) {
            return -1;
        }
    } else {
        size_t mark = pc_write_ext_begin(e->w);
        if (encode_elements(e, tuple) < 0) {
            return -1;
        }
        pc_write_ext_end(e->w, mark, PC_EXT_TUPLE);
    }
    pc_encode_leave(e);
    return pc_encode_check(e);
}

/* ---- The way in */

int pc_encode_with(struct pc_writer *w, PyObject *value, const struct pc_encode_opts *opts, const char *root) {
    struct pc_encoder e = {.w = w, .opts = opts, .depth_left = opts->max_depth, .lent = opts->lent, .path = {NULL}};
    if (pc_encode_value(&e, value) == 0 && pc_encode_check(&e) == 0) {
        pc_path_clear(&e.path);
        return 0;
    }
    pc_path_complete(&e.path, root);
    return -1;
}

int pc_encode(struct pc_writer *w, PyObject *value, unsigned max_depth, const char *root) {
    struct pc_encode_opts opts = {.max_depth = max_depth};
    return pc_encode_with(w, value, &opts, root);
}
