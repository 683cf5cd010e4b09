/* Everything is copied out of the frame: the buffer it lies in is free again when a request has been read. */

#include "request.h"

#include "json.h"
#include "names.h"
#include "wire/clock.h"

enum { ARGUMENTS = 2 }; /* args and kwargs stand before meta */

static const struct pc_decode_opts options = {.timestamps = PC_TIMESTAMPS_DATETIME, .keys = PC_KEYS_UNKNOWN};

void pc_request_init(struct pc_request *q, const struct pc_question *from) {
    q->from = *from;
    q->name = q->tool = q->binary = NULL;
    pc_args_init(&q->args);
    q->is_unresolved = false;
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
        return 0;
    }
    return PyErr_Occurred() ? -1 : find_other(q, tools);
}

static int refuse_tool(void) {
    PyErr_SetString(pc_ProtocolError, "the tool of a call is not a str");
    return -1;
}

/* ---- MessagePack */

static int read_tool(const struct pc_tools *tools, struct pc_decoder *d, struct pc_request *q) {
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

/* Behind the arguments and meta. Not all callers have one, and not all frames are so long. */
static void read_deadline(struct pc_request *q, struct pc_reader r) {
    int64_t at_ns;
    if (pc_reader_skip(&r) == PC_OK && pc_read_int(&r, &at_ns) == PC_OK) {
        q->deadline_ns = at_ns;
    }
}

int pc_request_read(struct pc_request *q, struct pc_decoder *d, const struct pc_tools *tools) {
    if (read_tool(tools, d, q) < 0) {
        return -1;
    }
    if (q->tool == NULL) {
        return 0;
    }
    d->opts = &options;
    d->behind = d->r;
    d->behind_count = ARGUMENTS;
    int read = pc_args_read(&q->args, d, q->binary);
    if (read == 0) {
        read_deadline(q, d->r);
    }
    return read;
}

/* ---- JSON */

static void take_deadline(struct pc_request *q, PyObject *field) {
    int overflow;
    if (PyLong_CheckExact(field)) {
        int64_t at_ns = PyLong_AsLongLongAndOverflow(field, &overflow);
        q->deadline_ns = overflow == 0 ? at_ns : PC_NO_DEADLINE;
    }
}

/* Of [kind, id, tool, args, kwargs, …]. JSON has no bytes, so parameters that are annotated as such get what there is. */
static int read_fields(struct pc_request *q, PyObject *frame, const struct pc_tools *tools) {
    enum { TOOL = 2, ARGS, KWARGS, LEAST, DEADLINE = 6 };
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
    if (PyList_GET_SIZE(frame) > DEADLINE) {
        take_deadline(q, PyList_GET_ITEM(frame, DEADLINE));
    }
    return q->tool == NULL ? 0 : pc_args_take(&q->args, PyList_GET_ITEM(frame, ARGS), PyList_GET_ITEM(frame, KWARGS));
}

int pc_request_read_json(struct pc_request *q, const uint8_t *payload, size_t n, unsigned max_depth,
                         const struct pc_tools *tools) {
    enum { FRAME = 1 }; /* its own array is not one of the containers that the limit counts */
    PyObject *frame = pc_json_decode(payload, n, max_depth + FRAME);
    int result = frame == NULL ? -1 : read_fields(q, frame, tools);
    Py_XDECREF(frame);
    return result;
}

void pc_request_clear(struct pc_request *q) {
    Py_XDECREF(q->name);
    Py_XDECREF(q->tool);
    Py_XDECREF(q->binary);
    pc_args_clear(&q->args);
}
