/* What is read of a batch. The calls own their arguments until the tool has them. */

#include "batch.h"

static const char no_batch[] = "the arguments of a batch are not the name of a tool and an array of arrays of two";

enum { PAIR = 2 };

bool pc_batch_is_name(PyObject *name) { return PyUnicode_CompareWithASCIIString(name, "pitcrew:batch") == 0; }

static int refuse(void) {
    PyErr_SetString(pc_ProtocolError, no_batch);
    return -1;
}

/* ---- MessagePack */

static int expect_array(struct pc_decoder *d, struct pc_token *t) {
    if (pc_decode_token(d, t) < 0) {
        return -1;
    }
    return t->type == PC_ARRAY ? 0 : refuse();
}

static int expect_pair(struct pc_decoder *d) {
    struct pc_token t;
    if (expect_array(d, &t) < 0) {
        return -1;
    }
    return t.len == PAIR ? 0 : refuse();
}

PyObject *pc_batch_read_name(struct pc_decoder *d) {
    struct pc_token t;
    if (expect_pair(d) < 0 || pc_decode_token(d, &t) < 0) {
        return NULL;
    }
    if (t.type != PC_STR && t.type != PC_BIN) { /* which it is, is an option of the call's */
        (void)refuse();
        return NULL;
    }
    PyObject *name = PyUnicode_DecodeUTF8((const char *)t.data, (Py_ssize_t)t.len, NULL);
    if (name == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        (void)refuse();
    }
    return name;
}

/* What was read becomes the item's. */
static int keep(struct pc_batch_item *item, struct pc_args *args) {
    PyObject *values = PyTuple_New((Py_ssize_t)args->count);
    if (values == NULL) {
        return -1;
    }
    for (size_t i = 0; i < args->count; i++) {
        PyTuple_SET_ITEM(values, (Py_ssize_t)i, args->items[i]);
    }
    item->what = values;
    item->kwnames = args->kwnames;
    item->state = PC_BATCH_WAITS;
    args->count = 0;
    args->kwnames = NULL;
    return 0;
}

static bool is_its_own_fault(void) {
    return !PyErr_ExceptionMatches(pc_ProtocolError) && !PyErr_ExceptionMatches(PyExc_MemoryError);
}

/* The call is refused with the exception that is set, and what it consists of is skipped. */
static int skip(struct pc_batch_item *item, struct pc_decoder *d, const struct pc_decoder *before) {
    item->what = pc_exception_take();
    item->state = PC_BATCH_REFUSED;
    pc_path_clear(&d->path);
    d->r = before->r;
    d->owed = before->owed - 1;
    d->depth_left = before->depth_left;
    enum pc_status status = pc_reader_skip(&d->r);
    if (status != PC_OK) {
        pc_decode_fail(status);
        return -1;
    }
    return 0;
}

static int read_item(struct pc_batch_item *item, struct pc_decoder *d, PyObject *binary, bool *skipped) {
    const struct pc_decoder before = *d;
    struct pc_args args;
    pc_args_init(&args);
    int result = expect_pair(d);
    if (result == 0) {
        result = pc_args_read(&args, d, binary);
        if (result == 0) {
            result = keep(item, &args);
        } else if (is_its_own_fault()) {
            *skipped = true;
            result = skip(item, d, &before);
        }
    }
    pc_args_clear(&args);
    return result;
}

/* Behind the arguments. A batch has none of its own by name. */
static int skip_keywords(struct pc_decoder *d) {
    enum pc_status status = pc_reader_skip(&d->r);
    d->owed--;
    if (status != PC_OK) {
        pc_decode_fail(status);
        return -1;
    }
    return 0;
}

PyObject *pc_batch_read(struct pc_decoder *d, const struct pc_batch_tool *of, bool *skipped) {
    struct pc_token t;
    if (expect_array(d, &t) < 0) {
        return NULL;
    }
    struct pc_batch *b = pc_batch_new(of, t.len);
    for (uint32_t i = 0; b != NULL && i < t.len; i++) {
        if (read_item(&b->items[i], d, of->binary, skipped) < 0) {
            Py_CLEAR(b);
        }
    }
    if (b != NULL && skip_keywords(d) < 0) {
        Py_CLEAR(b);
    }
    return (PyObject *)b;
}

/* ---- Objects */

PyObject *pc_batch_take_name(PyObject *args) {
    if (!PyList_CheckExact(args) || PyList_GET_SIZE(args) != PAIR || !PyUnicode_CheckExact(PyList_GET_ITEM(args, 0)) ||
        !PyList_CheckExact(PyList_GET_ITEM(args, 1))) {
        (void)refuse();
        return NULL;
    }
    return PyList_GET_ITEM(args, 0);
}

static int take_item(struct pc_batch_item *item, PyObject *pair) {
    if (!PyList_CheckExact(pair) || PyList_GET_SIZE(pair) != PAIR) {
        return refuse();
    }
    struct pc_args args;
    pc_args_init(&args);
    int result = pc_args_take(&args, PyList_GET_ITEM(pair, 0), PyList_GET_ITEM(pair, 1));
    if (result == 0) {
        result = keep(item, &args);
    }
    pc_args_clear(&args);
    return result;
}

PyObject *pc_batch_take(PyObject *args, const struct pc_batch_tool *of) {
    PyObject *pairs = PyList_GET_ITEM(args, 1);
    size_t n = (size_t)PyList_GET_SIZE(pairs);
    struct pc_batch *b = pc_batch_new(of, n);
    for (size_t i = 0; b != NULL && i < n; i++) {
        if (take_item(&b->items[i], PyList_GET_ITEM(pairs, (Py_ssize_t)i)) < 0) {
            Py_CLEAR(b);
        }
    }
    return (PyObject *)b;
}
