/* See loans.h. A view is taken once for each name, and dropped once, in dealloc. */

#include "loans.h"

#include "buffers.h"
#include "decoder.h"
#include "guard.h"
#include "lazy.h"
#include "wire/segment_footer.h"

struct loan {
    PyObject ob_base;
    struct pc_view view;
    unsigned long forks; /* when it was made */
    uint8_t kind;
    bool writable;
    bool seen; /* by somebody who may have kept it */
};

/* ---- The type */

static void loan_dealloc(PyObject *self) {
    struct loan *loan = (struct loan *)self;
    if (!pc_guard_forked() && (!loan->seen || loan->forks == pc_guard_forks())) {
        pc_view_drop(&loan->view);
    }
    PyObject_Free(self);
}

static int loan_getbuffer(PyObject *self, Py_buffer *buffer, int flags) {
    struct loan *loan = (struct loan *)self;
    int got = PyBuffer_FillInfo(buffer, self, (void *)(uintptr_t)loan->view.data, (Py_ssize_t)loan->view.n,
                                !loan->writable, flags);
    loan->seen = loan->seen || got == 0;
    return got;
}

static Py_ssize_t loan_length(PyObject *self) { return (Py_ssize_t)((struct loan *)self)->view.n; }

static PyBufferProcs as_buffer = {.bf_getbuffer = loan_getbuffer};
static PySequenceMethods as_sequence = {.sq_length = loan_length};

static PyTypeObject loan_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew._core.Loan",
    .tp_doc = "Memory that the VM reads as well. Private.",
    .tp_basicsize = sizeof(struct loan),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = loan_dealloc,
    .tp_as_buffer = &as_buffer,
    .tp_as_sequence = &as_sequence,
};

int pc_loans_init(void) { return PyType_Ready(&loan_type); }

/* ---- Names */

static struct loan *refuse(const char *reason) {
    PyErr_SetString(pc_DecodeError, reason);
    return NULL;
}

/* Borrowed; NULL if there is none. */
static struct loan *find(const struct pc_loans *l, const struct pc_segment_name *name) {
    Py_ssize_t n = l->objects == NULL ? 0 : PyList_GET_SIZE(l->objects);
    for (Py_ssize_t i = 0; i < n; i++) {
        struct loan *loan = (struct loan *)PyList_GET_ITEM(l->objects, i);
        const struct pc_segment_name *had = &loan->view.name;
        if (had->index == name->index && had->generation == name->generation && had->n == name->n) {
            return loan;
        }
    }
    return NULL;
}

static struct loan *make(struct pc_loans *l, const struct pc_segment_name *name, uint8_t kind) {
    struct pc_buffers *b = pc_buffers_now();
    if (b == NULL) {
        return refuse("a segment, where there is no memory that is shared with the VM");
    }
    if (l->objects == NULL && (l->objects = PyList_New(0)) == NULL) {
        return NULL;
    }
    struct loan *loan = PyObject_New(struct loan, &loan_type);
    if (loan == NULL) {
        return NULL;
    }
    loan->kind = kind;
    loan->writable = loan->seen = false;
    loan->forks = pc_guard_forks();
    enum pc_view_status status = pc_views_get(pc_buffers_in(b), name, &loan->view);
    if (status != PC_VIEW_OK) {
        PyObject_Free(loan);
        return status == PC_VIEW_BAD ? refuse("a segment that is not there") : (struct loan *)PyErr_NoMemory();
    }
    int kept = PyList_Append(l->objects, (PyObject *)loan);
    Py_DECREF(loan); /* which the list has now, or nobody */
    return kept < 0 ? NULL : loan;
}

/* Borrowed from the loans. */
static struct loan *get(struct pc_loans *l, const struct pc_token *t) {
    struct pc_segment_name name;
    if (l == NULL) {
        return refuse("a segment where none can be");
    }
    if (t->len != PC_SEGMENT_PAYLOAD || t->data[0] > PC_SEGMENT_ARROW) {
        return refuse("a segment that is not a kind and a name");
    }
    pc_segment_name_read(&name, t->data + 1);
    if (name.n > UINT32_MAX) {
        return refuse("a segment of more bytes than a frame can have");
    }
    struct loan *loan = find(l, &name);
    if (loan != NULL && loan->kind != t->data[0]) {
        return refuse("one segment as two things");
    }
    return loan != NULL ? loan : make(l, &name, t->data[0]);
}

void pc_loans_clear(struct pc_loans *l) { Py_CLEAR(l->objects); }

void pc_loans_decline(const uint8_t *payload, size_t n) {
    struct pc_buffers *b = pc_buffers_now();
    struct pc_segment_footer footer;
    if (b != NULL && pc_segment_footer_read(payload, n, &footer)) {
        pc_views_refuse(pc_buffers_in(b), &footer);
    }
}

/* ---- Values */

static PyObject *bytes_of(const struct loan *loan) {
    return PyBytes_FromStringAndSize((const char *)loan->view.data, (Py_ssize_t)loan->view.n);
}

static PyObject *arrow_of(struct loan *loan) {
    PyObject *class = pc_lazy_get(PC_LAZY_ARROW);
    PyObject *data = class == NULL ? NULL : PyMemoryView_FromObject((PyObject *)loan);
    PyObject *arrow = data == NULL ? NULL : PyObject_CallOneArg(class, data);
    Py_XDECREF(data);
    return arrow;
}

PyObject *pc_loan_read(struct pc_decoder *d, const struct pc_token *t) {
    struct loan *loan = get(d->loans, t);
    if (loan == NULL) {
        return NULL;
    }
    switch (loan->kind) {
    case PC_SEGMENT_BIN:
        return bytes_of(loan);
    case PC_SEGMENT_STR:
        return pc_decode_str(d, loan->view.data, (uint32_t)loan->view.n);
    default:
        return arrow_of(loan);
    }
}

PyObject *pc_loan_read_as(struct pc_decoder *d, const struct pc_token *t, PyTypeObject *type) {
    struct loan *loan = get(d->loans, t);
    if (loan == NULL) {
        return NULL;
    }
    if (loan->kind == PC_SEGMENT_ARROW) {
        return arrow_of(loan);
    }
    return type == &PyMemoryView_Type ? PyMemoryView_FromObject((PyObject *)loan) : bytes_of(loan);
}

PyObject *pc_loan_read_data(struct pc_loans *loans, const struct pc_token *t) {
    struct loan *loan = get(loans, t);
    if (loan == NULL) {
        return NULL;
    }
    if (loan->kind != PC_SEGMENT_BIN) {
        return (PyObject *)refuse("a tensor whose data is no bin");
    }
    loan->writable = true;
    return Py_NewRef((PyObject *)loan);
}
