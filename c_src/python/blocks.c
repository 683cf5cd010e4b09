/* See blocks.h. */

#include "blocks.h"

#include "buffers.h"
#include "guard.h"

enum state {
    OURS,   /* nobody else has seen it */
    PARTED, /* in an answer that is being made */
    SENT,
};

struct block {
    PyObject ob_base;
    struct pc_buffers *home; /* held; NULL: the memory is PyMem's */
    struct pc_segment_name name;
    void *memory;
    size_t n;
    enum state state;
    bool given;
};

/* A new segment takes long. The home is held. */
static bool take_outside(struct block *b, struct pc_segments *out) {
    bool taken;
    Py_BEGIN_ALLOW_THREADS taken = pc_segments_take(out, b->n, &b->name, &b->memory);
    Py_END_ALLOW_THREADS return taken;
}

static bool take(struct block *b) {
    struct pc_buffers *home = b->n < PC_SEGMENT_LEAST ? NULL : pc_buffers_now();
    if (home == NULL) {
        return false;
    }
    pc_buffers_hold(home);
    if (!take_outside(b, pc_buffers_out(home))) {
        pc_buffers_release(home);
        return false;
    }
    b->home = home;
    return true;
}

/* ---- The type */

static void give_back(struct block *b) {
    struct pc_segments *out = pc_buffers_out(b->home);
    if (b->state == SENT) {
        pc_segments_unpin(out, &b->name);
    } else {
        pc_segments_cancel(out, &b->name);
    }
    pc_buffers_release(b->home);
}

static void block_dealloc(PyObject *self) {
    struct block *b = (struct block *)self;
    if (b->home == NULL) {
        PyMem_Free(b->memory);
    } else if (!pc_guard_forked()) {
        give_back(b);
    }
    PyObject_Free(self);
}

static int block_getbuffer(PyObject *self, Py_buffer *buffer, int flags) {
    struct block *b = (struct block *)self;
    return PyBuffer_FillInfo(buffer, self, b->memory, (Py_ssize_t)b->n, b->given, flags);
}

static PyObject *block_give(PyObject *self, PyObject *args) {
    struct block *b = (struct block *)self;
    unsigned long long address;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "Kn:give", &address, &n)) {
        return NULL;
    }
    if (address != (uintptr_t)b->memory || n < 0 || (size_t)n > b->n) {
        PyErr_SetString(PyExc_ValueError, "give: it does not begin where the memory does that pitcrew.empty made");
        return NULL;
    }
    if (b->given) {
        PyErr_SetString(PyExc_ValueError,
                        "give: this memory has been given already; make another array with pitcrew.empty");
        return NULL;
    }
    b->n = (size_t)n;
    b->given = true;
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"give", block_give, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyBufferProcs as_buffer = {.bf_getbuffer = block_getbuffer};

static PyTypeObject block_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew._core.Block",
    .tp_doc = "Memory for an array that can be handed to the VM. Private.",
    .tp_basicsize = sizeof(struct block),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = block_dealloc,
    .tp_as_buffer = &as_buffer,
    .tp_methods = methods,
};

int pc_blocks_init(PyObject *module) { return PyModule_AddType(module, &block_type); }

PyObject *pc_block_new(PyObject *module, PyObject *size) {
    (void)module;
    Py_ssize_t n = PyNumber_AsSsize_t(size, PyExc_OverflowError);
    if (n < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "block: a size below zero");
        }
        return NULL;
    }
    struct block *b = PyObject_New(struct block, &block_type);
    if (b == NULL) {
        return NULL;
    }
    b->home = NULL;
    b->memory = NULL;
    b->n = (size_t)n;
    b->state = OURS;
    b->given = false;
    if (!take(b) && (b->memory = PyMem_Malloc(b->n)) == NULL) {
        Py_DECREF(b);
        return PyErr_NoMemory();
    }
    return (PyObject *)b;
}

/* ---- In answers */

bool pc_block_is(PyObject *object) { return Py_IS_TYPE(object, &block_type); }

bool pc_block_name(PyObject *block, struct pc_segment_name *name) {
    const struct block *b = (struct block *)block;
    *name = b->name;
    name->n = b->n;
    return b->home != NULL && b->n >= PC_SEGMENT_LEAST;
}

int pc_block_begin(PyObject *block) {
    struct block *b = (struct block *)block;
    if (b->state != OURS) {
        PyErr_SetString(pc_EncodeError, "what pitcrew.give returns can be sent once, and has been");
        return -1;
    }
    b->state = PARTED;
    return 0;
}

void pc_block_end(PyObject *block, bool complete) {
    struct block *b = (struct block *)block;
    b->state = complete ? SENT : OURS;
    if (complete && !pc_guard_forked()) {
        pc_segments_pin(pc_buffers_out(b->home), &b->name);
    }
}
