/* Everything is copied out of the frame: the buffer it lies in is free again when a request has been read. */

#include "request.h"

#include "names.h"

enum { ARGUMENTS = 2 }; /* args and kwargs stand before meta */

static const struct pc_decode_opts options = {.timestamps = PC_TIMESTAMPS_DATETIME, .keys = PC_KEYS_UNKNOWN};

void pc_request_init(struct pc_request *q, uint64_t id) {
    q->id = id;
    q->name = q->tool = q->binary = NULL;
    pc_args_init(&q->args);
}

static int read_tool(PyObject *tools, struct pc_decoder *d, struct pc_request *q) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return -1;
    }
    if (t.type != PC_STR) {
        PyErr_SetString(pc_ProtocolError, "the tool of a call is not a str");
        return -1;
    }
    q->name = pc_name_get(t.data, t.len);
    PyObject *entry = q->name == NULL ? NULL : PyDict_GetItemWithError(tools, q->name);
    if (entry != NULL) {
        PyObject *binary = PyTuple_GET_ITEM(entry, 1);
        q->tool = Py_NewRef(PyTuple_GET_ITEM(entry, 0));
        q->binary = binary == Py_None ? NULL : Py_NewRef(binary);
    }
    return PyErr_Occurred() ? -1 : 0;
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
    return pc_args_read(&q->args, d, q->binary);
}

void pc_request_clear(struct pc_request *q) {
    Py_XDECREF(q->name);
    Py_XDECREF(q->tool);
    Py_XDECREF(q->binary);
    pc_args_clear(&q->args);
}
