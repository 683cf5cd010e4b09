/* Everything here runs after a failure, so its own failures only make the report shorter. */

#include "fault.h"

#include "encode.h"
#include "json.h"
#include "wire/json_frame.h"

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
        f->message = PyObject_Str(exception);
        PyErr_Clear();
        f->traceback = NULL;
    } else {
        Py_INCREF(f->type);
        Py_INCREF(f->message);
        f->traceback = f->traceback == Py_None ? NULL : Py_NewRef(f->traceback);
    }
    Py_XDECREF(told);
    Py_DECREF(exception);
}

/* One of ours: the word must outlive the exception. */
static const char *known_kind(PyObject *kind) {
    static const char *const kinds[] = {"not_allowed", "unknown_tool", "bad_arguments", "result_error"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (PyUnicode_Check(kind) && PyUnicode_CompareWithASCIIString(kind, kinds[i]) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

void pc_fault_take_refusal(struct pc_fault *f) {
    PyObject *exception = pc_exception_take();
    PyObject *args = PyObject_GetAttrString(exception, "args");
    PyObject *kind, *message;
    const char *known = NULL;
    if (args != NULL && PyArg_ParseTuple(args, "OU", &kind, &message)) {
        known = known_kind(kind);
    }
    if (known != NULL) {
        pc_fault_say(f, known, Py_NewRef(message));
        Py_DECREF(exception);
    } else { /* somebody else has made it */
        PyErr_Clear();
        pc_exception_restore(exception);
        pc_fault_take(f, "tool_error");
    }
    Py_XDECREF(args);
}

void pc_fault_say(struct pc_fault *f, const char *kind, PyObject *message) {
    PyErr_Clear();
    *f = (struct pc_fault){.kind = kind, .message = message};
}

PyObject *pc_fault_unknown_tool(PyObject *name, PyObject *tools) { return call_python("unknown_tool", name, tools); }

/* ---- What both formats have */

static void put_str(struct pc_answer *a, const char *utf8, size_t n) {
    if (a->json) {
        pc_json_write_str(&a->out->w, utf8, n);
    } else {
        pc_write_str(&a->out->w, utf8, n);
    }
}

static void put_nil(struct pc_answer *a) {
    if (a->json) {
        pc_json_put(&a->out->w, "null");
    } else {
        pc_write_nil(&a->out->w);
    }
}

/* The key of the i-th pair. */
static void put_key(struct pc_answer *a, const char *key, int i) {
    if (a->json) {
        pc_json_put(&a->out->w, i == 0 ? "{" : ",");
        put_str(a, key, strlen(key));
        pc_json_put(&a->out->w, ":");
    } else {
        put_str(a, key, strlen(key));
    }
}

static int put_value(struct pc_answer *a, PyObject *value) {
    struct pc_writer *w = &a->out->w;
    return a->json ? pc_json_encode(w, value, "", PATH_DEPTH, "path") : pc_encode(w, value, PATH_DEPTH, "path");
}

/* ---- The map of an error */

static void write_text(struct pc_answer *a, PyObject *text, bool required) {
    Py_ssize_t n;
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8 != NULL) {
        put_str(a, utf8, (size_t)n);
        return;
    }
    PyErr_Clear();
    if (required) {
        put_str(a, "", 0);
    } else {
        put_nil(a);
    }
}

/* A part that has no form on the wire (the very key that was refused, for one) is told as text. */
static void write_part(struct pc_answer *a, PyObject *part) {
    struct pc_writer *w = &a->out->w;
    size_t mark = w->len;
    int put = put_value(a, part);
    PyErr_Clear();
    if (put == 0 || w->status != PC_OK) {
        return;
    }
    w->len = mark;
    PyObject *repr = PyObject_ASCII(part);
    if (repr == NULL) {
        PyErr_Clear();
        put_nil(a);
    } else {
        put_str(a, PyUnicode_DATA(repr), (size_t)PyUnicode_GET_LENGTH(repr));
        Py_DECREF(repr);
    }
}

static void write_path(struct pc_answer *a, PyObject *path) {
    if (path == NULL) {
        put_nil(a);
        return;
    }
    struct pc_writer *w = &a->out->w;
    Py_ssize_t n = PyTuple_GET_SIZE(path);
    if (a->json) {
        pc_json_put(w, "[");
    } else {
        pc_write_array(w, (size_t)n);
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (a->json && i > 0) {
            pc_json_put(w, ",");
        }
        write_part(a, PyTuple_GET_ITEM(path, i));
    }
    if (a->json) {
        pc_json_put(w, "]");
    }
}

void pc_fault_write_map(const struct pc_fault *f, struct pc_answer *a) {
    struct pc_writer *w = &a->out->w;
    if (!a->json) {
        pc_write_map(w, 5);
    }
    put_key(a, "kind", 0);
    put_str(a, f->kind, strlen(f->kind));
    put_key(a, "type", 1);
    write_text(a, f->type, false);
    put_key(a, "message", 2);
    write_text(a, f->message, true);
    put_key(a, "traceback", 3);
    write_text(a, f->traceback, false);
    put_key(a, "path", 4);
    write_path(a, f->path);
    if (a->json) {
        pc_json_put(w, "}");
    }
}

static enum pc_status write_frame(const struct pc_fault *f, struct pc_outbox *out, size_t max_frame,
                                  const struct pc_question *to, int64_t python_ns) {
    struct pc_answer a;
    pc_answer_begin(&a, out, max_frame, to, PC_KIND_ERROR, python_ns);
    pc_fault_write_map(f, &a);
    return pc_answer_end(&a);
}

void pc_fault_release(struct pc_fault *f) {
    Py_XDECREF(f->type);
    Py_XDECREF(f->message);
    Py_XDECREF(f->traceback);
    Py_XDECREF(f->path);
}

int pc_fault_write(struct pc_fault *f, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                   int64_t python_ns) {
    enum { SHORT = 100 };
    enum pc_status status = write_frame(f, out, max_frame, to, python_ns);
    if (status == PC_TOO_BIG) { /* a small max_frame: what fits the smallest one */
        Py_CLEAR(f->traceback);
        Py_CLEAR(f->path);
        for (PyObject **text = &f->type; text != NULL; text = text == &f->type ? &f->message : NULL) {
            if (*text != NULL) {
                Py_XSETREF(*text, PyUnicode_Substring(*text, 0, SHORT));
                PyErr_Clear();
            }
        }
        status = write_frame(f, out, max_frame, to, python_ns);
    }
    pc_fault_release(f);
    if (status != PC_OK) {
        PyErr_Format(pc_ProtocolError, "an error frame could not be written: %s", pc_status_text(status));
        return -1;
    }
    return 0;
}
