/* Everything here runs after a failure, so its own failures only make the report shorter. */

#include "fault.h"

#include "encode.h"
#include "wire/kinds.h"

/* Depth of a key that is part of a path; deeper ones are told as text. */
enum { PATH_DEPTH = 4 };

static PyObject *call_python(const char *function, PyObject *a, PyObject *b) {
    PyObject *module = PyImport_ImportModule("pitcrew.fault");
    PyObject *result = module == NULL ? NULL : PyObject_CallMethod(module, function, "OO", a, b);
    Py_XDECREF(module);
    return result;
}

static PyObject *path_of(PyObject *exception) {
    if (!PyErr_GivenExceptionMatches(exception, pc_EncodeError) &&
        !PyErr_GivenExceptionMatches(exception, pc_DecodeError)) {
        return NULL;
    }
    PyObject *path = PyObject_GetAttrString(exception, "path");
    if (path == NULL || !PyTuple_CheckExact(path)) {
        PyErr_Clear();
        Py_CLEAR(path);
    }
    return path;
}

void pc_fault_take(struct pc_fault *f, const char *kind) {
    PyObject *exception = pc_exception_take();
    *f = (struct pc_fault){.kind = kind, .path = path_of(exception)};
    int with_traceback = strcmp(kind, "tool_error") == 0;
    PyObject *told = call_python("describe", exception, with_traceback ? Py_True : Py_False);
    if (told == NULL || !PyArg_ParseTuple(told, "UUO", &f->type, &f->message, &f->traceback)) {
        PyErr_Clear();
        f->type = pc_type_name(Py_TYPE(exception));
        PyErr_Clear();
        f->message = NULL;
        f->traceback = NULL;
    } else {
        Py_INCREF(f->type);
        Py_INCREF(f->message);
        f->traceback = f->traceback == Py_None ? NULL : Py_NewRef(f->traceback);
    }
    Py_XDECREF(told);
    Py_DECREF(exception);
}

void pc_fault_say(struct pc_fault *f, const char *kind, PyObject *message) {
    PyErr_Clear();
    *f = (struct pc_fault){.kind = kind, .message = message};
}

PyObject *pc_fault_unknown_tool(PyObject *name, PyObject *tools) { return call_python("unknown_tool", name, tools); }

static void write_text(struct pc_writer *w, const char *key, PyObject *text) {
    Py_ssize_t n;
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &n);
    pc_write_cstr(w, key);
    if (utf8 != NULL) {
        pc_write_str(w, utf8, (size_t)n);
    } else if (strcmp(key, "message") == 0) {
        PyErr_Clear();
        pc_write_cstr(w, "");
    } else {
        PyErr_Clear();
        pc_write_nil(w);
    }
}

/* A part that has no form on the wire (the very key that was refused, for one) is told as text. */
static void write_part(struct pc_writer *w, PyObject *part) {
    size_t mark = w->len;
    if (pc_encode(w, part, PATH_DEPTH, "path") == 0 || w->status != PC_OK) {
        PyErr_Clear();
        return;
    }
    PyErr_Clear();
    w->len = mark;
    PyObject *repr = PyObject_ASCII(part);
    if (repr == NULL) {
        PyErr_Clear();
        pc_write_nil(w);
    } else {
        pc_write_str(w, PyUnicode_DATA(repr), (size_t)PyUnicode_GET_LENGTH(repr));
        Py_DECREF(repr);
    }
}

static void write_path(struct pc_writer *w, PyObject *path) {
    pc_write_cstr(w, "path");
    if (path == NULL) {
        pc_write_nil(w);
        return;
    }
    pc_write_array(w, (size_t)PyTuple_GET_SIZE(path));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(path); i++) {
        write_part(w, PyTuple_GET_ITEM(path, i));
    }
}

static enum pc_status write_frame(struct pc_fault *f, struct pc_outbox *out, size_t max_frame, uint64_t id,
                                  int64_t python_ns) {
    size_t mark = pc_outbox_begin(out, max_frame);
    struct pc_writer *w = &out->w;
    pc_write_array(w, 4);
    pc_write_int(w, PC_KIND_ERROR);
    pc_write_uint(w, id);
    pc_write_int(w, python_ns);
    pc_write_map(w, 5);
    pc_write_cstr(w, "kind");
    pc_write_cstr(w, f->kind);
    write_text(w, "type", f->type);
    write_text(w, "message", f->message);
    write_text(w, "traceback", f->traceback);
    write_path(w, f->path);
    return pc_outbox_end(out, mark);
}

int pc_fault_write(struct pc_fault *f, struct pc_outbox *out, size_t max_frame, uint64_t id, int64_t python_ns) {
    enum { SHORT = 100 };
    enum pc_status status = write_frame(f, out, max_frame, id, python_ns);
    if (status == PC_TOO_BIG) { /* a small max_frame: what fits the smallest one */
        Py_CLEAR(f->traceback);
        Py_CLEAR(f->path);
        for (PyObject **text = &f->type; text != NULL; text = text == &f->type ? &f->message : NULL) {
            if (*text != NULL) {
                Py_XSETREF(*text, PyUnicode_Substring(*text, 0, SHORT));
                PyErr_Clear();
            }
        }
        status = write_frame(f, out, max_frame, id, python_ns);
    }
    Py_XDECREF(f->type);
    Py_XDECREF(f->message);
    Py_XDECREF(f->traceback);
    Py_XDECREF(f->path);
    if (status != PC_OK) {
        PyErr_Format(pc_ProtocolError, "an error frame could not be written: %s", pc_status_text(status));
        return -1;
    }
    return 0;
}
