/*
 * Bytes are kept from the first one that no message has used. A scan that remembers where it stopped finds out whether
 * the next message is whole, so that each byte is looked at twice and never again, however small the pieces are.
 *
 * The buffer is not touched while a value is being made of it (`busy`): an ext_hook may call feed.
 */

#include "unpacker.h"

#include <stdlib.h>

#include "options.h"

enum { DEFAULT_MAX_SIZE = 100 << 20, SMALLEST = 4096 };

struct unpacker {
    PyObject_HEAD struct pc_unpack_opts opts;
    PyObject *kwargs; /* owns what opts borrows */
    uint8_t *data;
    size_t start;   /* of the next message */
    size_t scanned; /* the message's tokens have been seen up to here */
    size_t end, cap;
    uint64_t owed; /* values of the message that have not been seen */
    uint64_t consumed;
    bool busy;
    bool lost; /* where the next message begins can no longer be known */
};

/* ---- Life */

static int read_options(struct unpacker *u, PyObject *kwargs) {
    PyObject *names = kwargs == NULL ? PyTuple_New(0) : PySequence_Tuple(kwargs);
    PyObject *items = kwargs == NULL ? PyList_New(0) : PyDict_Values(kwargs);
    int result = names == NULL || items == NULL ? -1
                                                : pc_options_unpack(&u->opts, ((PyListObject *)items)->ob_item, names,
                                                                    "Unpacker", DEFAULT_MAX_SIZE);
    Py_XDECREF(names);
    Py_XDECREF(items);
    return result;
}

static PyObject *unpacker_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) > 0) {
        PyErr_SetString(PyExc_TypeError, "Unpacker() takes options by name alone; give bytes to feed()");
        return NULL;
    }
    struct unpacker *u = (struct unpacker *)type->tp_alloc(type, 0);
    if (u == NULL) {
        return NULL;
    }
    u->owed = 1;
    u->kwargs = kwargs == NULL ? PyDict_New() : PyDict_Copy(kwargs);
    if (u->kwargs == NULL || read_options(u, u->kwargs) < 0) {
        Py_CLEAR(u);
    }
    return (PyObject *)u;
}

static int unpacker_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((struct unpacker *)self)->kwargs);
    return 0;
}

static int unpacker_clear(PyObject *self) {
    struct unpacker *u = (struct unpacker *)self;
    u->opts.decode.ext_hook = NULL;
    u->opts.decode.errors = NULL;
    Py_CLEAR(u->kwargs);
    return 0;
}

static void unpacker_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    (void)unpacker_clear(self);
    free(((struct unpacker *)self)->data);
    Py_TYPE(self)->tp_free(self);
}

static int check_idle(const struct unpacker *u) {
    if (u->busy) {
        PyErr_SetString(PyExc_RuntimeError, "this Unpacker is at work on a message");
        return -1;
    }
    return 0;
}

/* ---- feed */

static void drop_used(struct unpacker *u) {
    if (u->start == 0) {
        return;
    }
    memmove(u->data, u->data + u->start, u->end - u->start);
    u->end -= u->start;
    u->scanned -= u->start;
    u->start = 0;
}

static int make_room(struct unpacker *u, size_t n) {
    if (u->cap - u->end >= n) {
        return 0;
    }
    drop_used(u);
    if (u->cap - u->end >= n) {
        return 0;
    }
    size_t need = u->end + n; /* both are at most max_size, which is a Py_ssize_t */
    size_t cap = need > u->cap * 2 ? need : u->cap * 2;
    cap = cap < SMALLEST ? SMALLEST : cap;
    uint8_t *data = realloc(u->data, cap);
    if (data == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    u->data = data;
    u->cap = cap;
    return 0;
}

static int append(struct unpacker *u, const Py_buffer *view) {
    size_t n = (size_t)view->len;
    if (u->opts.max_size - (u->end - u->start) < n) {
        PyErr_Format(pc_DecodeError, "more than %zu bytes that are not unpacked yet", u->opts.max_size);
        pc_path_none("stream");
        return -1;
    }
    if (n == 0) {
        return 0;
    }
    if (make_room(u, n) < 0) {
        return -1;
    }
    memcpy(u->data + u->end, view->buf, n);
    u->end += n;
    return 0;
}

static PyObject *unpacker_feed(PyObject *self, PyObject *data) {
    struct unpacker *u = (struct unpacker *)self;
    Py_buffer view;
    if (check_idle(u) < 0 || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int result = append(u, &view);
    PyBuffer_Release(&view);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- Messages */

/* Looks for the end of the message: PC_OK, PC_TRUNCATED if it is not there yet, or what is wrong. */
static enum pc_status scan(struct unpacker *u) {
    struct pc_reader r;
    pc_reader_init(&r, u->data + u->scanned, u->end - u->scanned);
    enum pc_status status = PC_OK;
    while (u->owed > 0 && status == PC_OK) {
        struct pc_token t;
        status = pc_reader_next(&r, &t);
        if (status == PC_OK) {
            u->owed += (t.type == PC_ARRAY ? t.len : t.type == PC_MAP ? 2 * (uint64_t)t.len : 0) - 1;
            u->scanned = u->end - pc_reader_left(&r);
        }
    }
    return status;
}

static PyObject *make_value(struct unpacker *u) {
    struct pc_decoder d;
    size_t n = u->scanned - u->start;
    pc_decoder_init(&d, u->data + u->start, n, u->opts.max_depth);
    d.opts = &u->opts.decode;
    u->busy = true;
    PyObject *value = pc_decode_value(&d);
    u->busy = false;
    if (value == NULL) {
        pc_path_complete(&d.path, "message");
    }
    pc_decoder_destroy(&d);
    /* One that cannot be made is over too: what follows it may be fine. */
    u->start = u->scanned;
    u->consumed += n;
    u->owed = 1;
    return value;
}

static PyObject *unpacker_next(PyObject *self) {
    struct unpacker *u = (struct unpacker *)self;
    if (check_idle(u) < 0) {
        return NULL;
    }
    enum pc_status status = u->lost ? PC_INVALID : u->end == u->start ? PC_TRUNCATED : scan(u);
    if (status == PC_TRUNCATED) {
        return NULL; /* StopIteration */
    }
    if (status != PC_OK) {
        u->lost = true;
        PyErr_SetString(pc_DecodeError, "not valid MessagePack; what follows can no longer be told apart");
        pc_path_none("stream");
        return NULL;
    }
    return make_value(u);
}

static PyObject *unpacker_tell(PyObject *self, PyObject *nothing) {
    (void)nothing;
    return PyLong_FromUnsignedLongLong(((struct unpacker *)self)->consumed);
}

static PyObject *unpacker_buffered(PyObject *self, void *closure) {
    (void)closure;
    struct unpacker *u = (struct unpacker *)self;
    return PyLong_FromSize_t(u->end - u->start);
}

static PyMethodDef methods[] = {
    {"feed", unpacker_feed, METH_O, "feed(data): appends bytes. DecodeError if more than max_size are waiting."},
    {"tell", unpacker_tell, METH_NOARGS, "tell() -> int: how many bytes the messages so far have taken."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"buffered", unpacker_buffered, NULL, "How many bytes are waiting.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject unpacker_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.Unpacker",
    .tp_doc = "Unpacker(**options): an iterator over the messages of a stream that is fed in pieces.",
    .tp_basicsize = sizeof(struct unpacker),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = unpacker_new,
    .tp_dealloc = unpacker_dealloc,
    .tp_traverse = unpacker_traverse,
    .tp_clear = unpacker_clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = unpacker_next,
    .tp_methods = methods,
    .tp_getset = getset,
};

int pc_unpacker_init(PyObject *module) { return PyModule_AddType(module, &unpacker_type); }
