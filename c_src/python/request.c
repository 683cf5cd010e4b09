/* Everything is copied out of the frame: the buffer it lies in is free again when a request has been read. */

#include "request.h"

#include "around.h"
#include "batch.h"
#include "codec/ext.h"
#include "context.h"
#include "json.h"
#include "loans.h"
#include "names.h"
#include "wire/clock.h"
#include "wire/stream.h"

enum { ARGUMENTS = 2 }; /* args and kwargs stand before meta */

static const struct pc_decode_opts options = {
    .timestamps = PC_TIMESTAMPS_DATETIME, .keys = PC_KEYS_UNKNOWN, .refs = true};

void pc_request_init(struct pc_request *q, const struct pc_question *from) {
    q->from = *from;
    q->name = q->tool = q->binary = q->elements = NULL;
    q->session = 0;
    q->trace = NULL;
    q->credit = 0;
    pc_args_init(&q->args);
    q->is_unresolved = q->borrows = q->skipped = false;
    q->deadline_ns = PC_NO_DEADLINE;
}

/* A name that no tool has. */
static int find_other(struct pc_request *q, const struct pc_tools *tools) {
    if (tools->missing == NULL) {
        return 0;
    }
    PyObject *callable = NULL;
    int is_unresolved = 0;
    PyObject *found = PyObject_CallOneArg(tools->missing, q->name);
    int result =
        found == NULL || (found != Py_None && !PyArg_ParseTuple(found, "Op", &callable, &is_unresolved)) ? -1 : 0;
    if (result == 0 && callable != NULL) {
        q->tool = Py_NewRef(callable);
        q->is_unresolved = is_unresolved != 0;
    }
    Py_XDECREF(found);
    return result;
}

/* What q->name stands for, if it does for anything. */
static int find_tool(struct pc_request *q, const struct pc_tools *tools) {
    PyObject *entry = PyDict_GetItemWithError(tools->known, q->name);
    if (entry != NULL) {
        PyObject *binary = PyTuple_GET_ITEM(entry, 1);
        q->tool = Py_NewRef(PyTuple_GET_ITEM(entry, 0));
        q->binary = binary == Py_None ? NULL : Py_NewRef(binary);
        q->elements = PyTuple_GET_SIZE(entry) > 2 ? Py_NewRef(PyTuple_GET_ITEM(entry, 2)) : NULL;
        return 0;
    }
    return PyErr_Occurred() ? -1 : find_other(q, tools);
}

/* A str, or an atom: what Erlang has for a name. */
static bool is_word(const struct pc_token *t, const char *word) {
    bool is_text = t->type == PC_STR || (t->type == PC_EXT && t->ext == PC_EXT_ATOM);
    return is_text && t->len == strlen(word) && memcmp(t->data, word, t->len) == 0;
}

static int refuse_tool(void) {
    PyErr_SetString(pc_ProtocolError, "the tool of a call is not a str");
    return -1;
}

/* What the calls of a batch are of. */
static struct pc_batch_tool batched(const struct pc_request *q) {
    PyObject *elements = q->elements == Py_None ? NULL : q->elements;
    return (struct pc_batch_tool){.tool = q->tool,
                                  .is_unresolved = q->is_unresolved,
                                  .binary = q->elements != NULL ? elements : q->binary,
                                  .at_once = q->elements != NULL};
}

/* Steals the batch, which is called from now on, without arguments; NULL with an exception. */
static int put_batch(struct pc_request *q, PyObject *batch) {
    if (batch == NULL) {
        return -1;
    }
    Py_SETREF(q->tool, batch);
    q->is_unresolved = false;
    return 0;
}

/* ---- MessagePack */

/* Of a batch the tool is that of its calls. */
static int read_tool(const struct pc_tools *tools, struct pc_decoder *d, struct pc_request *q, bool *is_batch) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return -1;
    }
    if (t.type != PC_STR) {
        return refuse_tool();
    }
    q->name = pc_name_get(t.data, t.len);
    *is_batch = q->name != NULL && pc_batch_is_name(q->name);
    if (*is_batch) {
        d->behind = d->r;
        Py_SETREF(q->name, pc_batch_read_name(d));
    }
    return q->name == NULL ? -1 : find_tool(q, tools);
}

enum { TRACEPARENT, TRACESTATE };

/* One of the two texts of a trace, in whatever order they come. What is no text in UTF-8 is none. */
static int set_trace(struct pc_request *q, int which, PyObject *text) {
    PyObject *other = q->trace == NULL ? Py_None : PyTuple_GET_ITEM(q->trace, 1 - which);
    PyObject *pair = text == NULL           ? NULL
                     : which == TRACEPARENT ? PyTuple_Pack(2, text, other)
                                            : PyTuple_Pack(2, other, text);
    if (pair == NULL && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return -1;
    }
    PyErr_Clear();
    if (pair != NULL) {
        Py_XSETREF(q->trace, pair);
    }
    return 0;
}

static int read_trace(struct pc_request *q, int which, const struct pc_token *t) {
    PyObject *text = PyUnicode_DecodeUTF8((const char *)t->data, (Py_ssize_t)t->len, NULL);
    int result = set_trace(q, which, text);
    Py_XDECREF(text);
    return result;
}

/* A tracestate alone means nothing. */
static void check_trace(struct pc_request *q) {
    if (q->trace != NULL && PyTuple_GET_ITEM(q->trace, TRACEPARENT) == Py_None) {
        Py_CLEAR(q->trace);
    }
}

/* One pair. What this version does not know it ignores. */
static int read_pair(struct pc_request *q, struct pc_reader *r) {
    struct pc_token key, value;
    const uint8_t *start;
    if (pc_reader_next(r, &key) != PC_OK) {
        return -1;
    }
    start = r->p;
    if (pc_reader_next(r, &value) != PC_OK) {
        return -1;
    }
    if (is_word(&key, "session") && (value.type == PC_INT || value.type == PC_UINT)) {
        q->session = value.u;
    } else if (is_word(&key, "ref") && value.type == PC_BOOL) {
        q->from.ref = value.b;
    } else if (is_word(&key, "stream") && value.type == PC_INT && value.i > 0 && value.i <= PC_MOST_CREDIT) {
        q->credit = value.i;
    } else if (value.type == PC_STR && (is_word(&key, "traceparent") || is_word(&key, "tracestate")) &&
               read_trace(q, is_word(&key, "traceparent") ? TRACEPARENT : TRACESTATE, &value) < 0) {
        return -1;
    }
    r->p = start;
    return pc_reader_skip(r) == PC_OK ? 0 : -1;
}

static int read_meta(struct pc_request *q, struct pc_reader *r) {
    struct pc_token meta;
    if (pc_reader_left(r) == 0) {
        return 0; /* not all frames are so long */
    }
    int bad = pc_reader_next(r, &meta) != PC_OK || !(meta.type == PC_NIL || meta.type == PC_MAP);
    for (uint32_t i = 0; !bad && meta.type == PC_MAP && i < meta.len; i++) {
        bad = read_pair(q, r) < 0;
    }
    if (bad && !PyErr_Occurred()) {
        PyErr_SetString(pc_ProtocolError, "the meta of a call is neither a map nor nil");
    }
    check_trace(q);
    return bad ? -1 : 0;
}

/* Behind meta. Not all callers have one, and not all frames are so long. */
static void read_deadline(struct pc_request *q, struct pc_reader *r) {
    int64_t at_ns;
    if (pc_read_int(r, &at_ns) == PC_OK) {
        q->deadline_ns = at_ns;
    }
}

static int read_arguments(struct pc_request *q, struct pc_decoder *d, bool is_batch) {
    struct pc_loans loans = {NULL};
    const struct pc_batch_tool of = batched(q);
    d->loans = &loans;
    int result = is_batch ? put_batch(q, pc_batch_read(d, &of, &q->skipped)) : pc_args_read(&q->args, d, q->binary);
    d->loans = NULL;
    q->borrows = loans.objects != NULL;
    pc_loans_clear(&loans);
    return result;
}

int pc_request_read(struct pc_request *q, struct pc_decoder *d, const struct pc_tools *tools) {
    bool is_batch = false;
    if (read_tool(tools, d, q, &is_batch) < 0) {
        return -1;
    }
    if (q->tool == NULL) {
        return 0;
    }
    d->opts = &options;
    if (!is_batch) {
        d->behind = d->r;
    }
    d->behind_count = ARGUMENTS;
    d->call = q->from.id;
    if (read_arguments(q, d, is_batch) < 0 || read_meta(q, &d->r) < 0) {
        return -1;
    }
    read_deadline(q, &d->r);
    if (is_batch) {
        pc_batch_set_deadline(q->tool, q->deadline_ns);
    }
    return 0;
}

/* ---- JSON */

static void take_deadline(struct pc_request *q, PyObject *field) {
    int overflow;
    if (PyLong_CheckExact(field)) {
        int64_t at_ns = PyLong_AsLongLongAndOverflow(field, &overflow);
        q->deadline_ns = overflow == 0 ? at_ns : PC_NO_DEADLINE;
    }
}

/* Of what stands in meta calls in JSON have only that. */
static int take_trace(struct pc_request *q, PyObject *meta) {
    static const char *const words[] = {[TRACEPARENT] = "traceparent", [TRACESTATE] = "tracestate"};
    for (int i = TRACEPARENT; PyDict_CheckExact(meta) && i <= TRACESTATE; i++) {
        PyObject *text = PyDict_GetItemString(meta, words[i]);
        if (text != NULL && PyUnicode_CheckExact(text) && set_trace(q, i, text) < 0) {
            return -1;
        }
    }
    check_trace(q);
    return 0;
}

static int take_batch(struct pc_request *q, PyObject *args) {
    const struct pc_batch_tool of = batched(q);
    if (put_batch(q, pc_batch_take(args, &of)) < 0) {
        return -1;
    }
    pc_batch_set_deadline(q->tool, q->deadline_ns);
    return 0;
}

/* Of [kind, id, tool, args, kwargs, …]. JSON has no bytes, so parameters that are annotated as such get what there is. */
static int read_fields(struct pc_request *q, PyObject *frame, const struct pc_tools *tools) {
    enum { TOOL = 2, ARGS, KWARGS, LEAST, META = LEAST, DEADLINE };
    if (!PyList_CheckExact(frame) || PyList_GET_SIZE(frame) < LEAST) {
        PyErr_SetString(pc_ProtocolError, "a call in JSON is an array of kind, id, tool, args and kwargs");
        return -1;
    }
    if (!PyUnicode_CheckExact(PyList_GET_ITEM(frame, TOOL))) {
        return refuse_tool();
    }
    PyObject *args = PyList_GET_ITEM(frame, ARGS), *name = PyList_GET_ITEM(frame, TOOL);
    bool is_batch = pc_batch_is_name(name);
    if (is_batch && (name = pc_batch_take_name(args)) == NULL) {
        return -1;
    }
    q->name = Py_NewRef(name);
    if (find_tool(q, tools) < 0) {
        return -1;
    }
    if (PyList_GET_SIZE(frame) > META && take_trace(q, PyList_GET_ITEM(frame, META)) < 0) {
        return -1;
    }
    if (PyList_GET_SIZE(frame) > DEADLINE) {
        take_deadline(q, PyList_GET_ITEM(frame, DEADLINE));
    }
    if (q->tool == NULL) {
        return 0;
    }
    return is_batch ? take_batch(q, args) : pc_args_take(&q->args, args, PyList_GET_ITEM(frame, KWARGS));
}

int pc_request_read_json(struct pc_request *q, const uint8_t *payload, size_t n, unsigned max_depth,
                         const struct pc_tools *tools) {
    enum { FRAME = 1 }; /* its own array is not one of the containers that the limit counts */
    PyObject *frame = pc_json_decode(payload, n, max_depth + FRAME);
    int result = frame == NULL ? -1 : read_fields(q, frame, tools);
    Py_XDECREF(frame);
    return result;
}

static PyObject *call_tool(struct pc_request *q) {
    if (q->is_unresolved) {
        PyObject *tool = PyObject_CallNoArgs(q->tool);
        if (tool == NULL) {
            return NULL;
        }
        Py_SETREF(q->tool, tool);
    }
    return pc_around_call(q->tool, &q->args);
}

PyObject *pc_request_call(struct pc_request *q) {
    struct pc_context context;
    if (pc_context_enter(q, &context) < 0) {
        return NULL;
    }
    PyObject *result = call_tool(q);
    pc_context_leave(&context);
    return result;
}

void pc_request_return(struct pc_request *q) {
    if (q->borrows) {
        pc_args_clear(&q->args);
    }
}

void pc_request_clear(struct pc_request *q) {
    Py_XDECREF(q->name);
    Py_XDECREF(q->tool);
    Py_XDECREF(q->binary);
    Py_XDECREF(q->elements);
    Py_XDECREF(q->trace);
    pc_args_clear(&q->args);
}
