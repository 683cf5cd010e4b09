/* Everything is copied out of the frame: the buffer it lies in is free again when a request has been read. */

#include "request.h"

#include "codec/ext.h"
#include "json.h"
#include "names.h"
#include "session.h"

enum { ARGUMENTS = 2 }; /* args and kwargs stand before meta */

static const struct pc_decode_opts options = {
    .timestamps = PC_TIMESTAMPS_DATETIME, .keys = PC_KEYS_UNKNOWN, .refs = true};

void pc_request_init(struct pc_request *q, const struct pc_question *from) {
    q->from = *from;
    q->name = q->tool = q->binary = NULL;
    q->session = 0;
    pc_args_init(&q->args);
}

/* The tool of q->name, if there is one. */
static int find_tool(struct pc_request *q, PyObject *tools) {
    PyObject *entry = PyDict_GetItemWithError(tools, q->name);
    if (entry != NULL) {
        PyObject *binary = PyTuple_GET_ITEM(entry, 1);
        q->tool = Py_NewRef(PyTuple_GET_ITEM(entry, 0));
        q->binary = binary == Py_None ? NULL : Py_NewRef(binary);
    }
    return PyErr_Occurred() ? -1 : 0;
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

/* ---- MessagePack */

static int read_tool(PyObject *tools, struct pc_decoder *d, struct pc_request *q) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return -1;
    }
    if (t.type != PC_STR) {
        return refuse_tool();
    }
    q->name = pc_name_get(t.data, t.len);
    return q->name == NULL ? -1 : find_tool(q, tools);
}

/* One pair. Both are for this and later versions to know: what is not is ignored. */
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
    }
    r->p = start;
    return pc_reader_skip(r) == PC_OK ? 0 : -1;
}

static int read_meta(struct pc_request *q, struct pc_decoder *d) {
    struct pc_token meta;
    if (pc_reader_left(&d->r) == 0) {
        return 0; /* an older VM, or a test */
    }
    int bad = pc_reader_next(&d->r, &meta) != PC_OK || !(meta.type == PC_NIL || meta.type == PC_MAP);
    for (uint32_t i = 0; !bad && meta.type == PC_MAP && i < meta.len; i++) {
        bad = read_pair(q, &d->r) < 0;
    }
    if (bad) {
        PyErr_SetString(pc_ProtocolError, "the meta of a call is neither a map nor nil");
    }
    return bad ? -1 : 0;
}

int pc_request_read(struct pc_request *q, struct pc_decoder *d, PyObject *tools) {
    if (read_tool(tools, d, q) < 0) {
        return -1;
    }
    if (q->tool == NULL) {
        return 0;
    }
    d->opts = &options;
    d->behind = d->r;
    d->behind_count = ARGUMENTS;
    return pc_args_read(&q->args, d, q->binary) < 0 ? -1 : read_meta(q, d);
}

/* ---- JSON */

/* Of [kind, id, tool, args, kwargs, …]. JSON has no bytes, so parameters that are annotated as such get what there is. */
static int read_fields(struct pc_request *q, PyObject *frame, PyObject *tools) {
    enum { TOOL = 2, ARGS, KWARGS, LEAST };
    if (!PyList_CheckExact(frame) || PyList_GET_SIZE(frame) < LEAST) {
        PyErr_SetString(pc_ProtocolError, "a call in JSON is an array of kind, id, tool, args and kwargs");
        return -1;
    }
    if (!PyUnicode_CheckExact(PyList_GET_ITEM(frame, TOOL))) {
        return refuse_tool();
    }
    q->name = Py_NewRef(PyList_GET_ITEM(frame, TOOL));
    if (find_tool(q, tools) < 0) {
        return -1;
    }
    return q->tool == NULL ? 0 : pc_args_take(&q->args, PyList_GET_ITEM(frame, ARGS), PyList_GET_ITEM(frame, KWARGS));
}

int pc_request_read_json(struct pc_request *q, const uint8_t *payload, size_t n, unsigned max_depth, PyObject *tools) {
    enum { FRAME = 1 }; /* its own array is not one of the containers that the limit counts */
    PyObject *frame = pc_json_decode(payload, n, max_depth + FRAME);
    int result = frame == NULL ? -1 : read_fields(q, frame, tools);
    Py_XDECREF(frame);
    return result;
}

PyObject *pc_request_call(struct pc_request *q) {
    PyObject *session = NULL;
    if (q->session != 0 && (session = pc_session_enter(q->session)) == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(q->tool, q->args.items, q->args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                           q->args.kwnames);
    if (session != NULL) {
        pc_session_leave(session);
    }
    return result;
}

void pc_request_clear(struct pc_request *q) {
    Py_XDECREF(q->name);
    Py_XDECREF(q->tool);
    Py_XDECREF(q->binary);
    pc_args_clear(&q->args);
}
