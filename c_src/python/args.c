/* References: items[0..count) are owned from the moment they are stored, kwnames from the moment it is made. */

#include "args.h"

#include "codec/ext.h"
#include "loans.h"
#include "names.h"

static const char no_array[] = "the arguments of a call are not an array";
static const char no_map[] = "the keyword arguments of a call are neither a map nor nil";

void pc_args_init(struct pc_args *a) {
    a->items = a->space + 1;
    a->room = PC_ARGS_INLINE;
    a->count = a->positional = 0;
    a->kwnames = NULL;
}

void pc_args_clear(struct pc_args *a) {
    for (size_t i = 0; i < a->count; i++) {
        Py_DECREF(a->items[i]);
    }
    if (a->items != a->space + 1) {
        PyMem_Free(a->items - 1);
    }
    Py_XDECREF(a->kwnames);
    pc_args_init(a);
}

static int make_room(struct pc_args *a, size_t n) {
    if (a->count + n <= a->room) {
        return 0;
    }
    PyObject **block = PyMem_Malloc((a->count + n + 1) * sizeof *block);
    if (block == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    memcpy(block + 1, a->items, a->count * sizeof *block);
    if (a->items != a->space + 1) {
        PyMem_Free(a->items - 1);
    }
    a->items = block + 1;
    a->room = a->count + n;
    return 0;
}

/* The type that `binary` wants for an argument, borrowed; NULL for none. */
static PyObject *wanted(PyObject *binary, PyObject *which, const char *rest) {
    PyObject *type = which == NULL ? NULL : PyDict_GetItemWithError(binary, which);
    if (type == NULL && which != NULL && !PyErr_Occurred()) {
        type = PyDict_GetItemString(binary, rest);
    }
    return type == Py_None ? NULL : type;
}

/* Whether what is annotated as bytes or memoryview becomes that. */
static bool is_binary(const struct pc_token *t) {
    return t->type == PC_STR || t->type == PC_BIN || (t->type == PC_EXT && t->ext == PC_EXT_SEGMENT);
}

static PyObject *read_binary(struct pc_decoder *d, const struct pc_token *t, PyObject *type) {
    if (t->type == PC_EXT) {
        return pc_loan_read_as(d, t, (PyTypeObject *)type);
    }
    PyObject *value = PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->len);
    if (value != NULL && type != (PyObject *)&PyBytes_Type) {
        Py_SETREF(value, PyObject_CallOneArg(type, value));
    }
    return value;
}

/* One argument. `which` is its index or name, for `binary`; a new reference, stolen. */
static PyObject *read_value(struct pc_decoder *d, PyObject *binary, PyObject *which, const char *rest) {
    struct pc_token t;
    PyObject *type = NULL, *value = NULL;
    if (pc_decode_token(d, &t) < 0) {
        goto done;
    }
    if (binary != NULL && is_binary(&t)) {
        type = wanted(binary, which, rest);
        if (PyErr_Occurred()) {
            goto done;
        }
    }
    value = type == NULL ? pc_decode_rest(d, &t) : read_binary(d, &t, type);
done:
    Py_XDECREF(which);
    return value;
}

static int expect(struct pc_decoder *d, enum pc_type type, struct pc_token *t, const char *message) {
    if (pc_decode_token(d, t) < 0) {
        return -1;
    }
    if (t->type != type && !(type == PC_MAP && t->type == PC_NIL)) {
        PyErr_SetString(pc_ProtocolError, message);
        return -1;
    }
    return 0;
}

static int read_positional(struct pc_args *a, struct pc_decoder *d, PyObject *binary) {
    struct pc_token t;
    if (expect(d, PC_ARRAY, &t, no_array) < 0 || make_room(a, t.len) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < t.len; i++) {
        PyObject *which = binary == NULL ? NULL : PyLong_FromUnsignedLong(i);
        PyObject *value = read_value(d, binary, which, "*");
        if (value == NULL) {
            pc_path_push_index(&d->path, (Py_ssize_t)i);
            return -1;
        }
        a->items[a->count++] = value;
    }
    a->positional = a->count;
    return 0;
}

/* A keyword's name, as a plain str: an atom's text is its name. */
static PyObject *read_name(struct pc_decoder *d) {
    struct pc_token t;
    if (pc_decode_token(d, &t) < 0) {
        return NULL;
    }
    if (t.type == PC_STR || (t.type == PC_EXT && t.ext == PC_EXT_ATOM)) {
        PyObject *name = pc_name_get(t.data, t.len);
        if (name == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_SetString(pc_DecodeError, "a keyword name that is not UTF-8");
        }
        return name;
    }
    PyObject *key = pc_decode_rest(d, &t);
    if (key != NULL) {
        PyErr_Format(PyExc_TypeError, "keyword names must be strings or atoms, not %R", key);
        Py_DECREF(key);
    }
    return NULL;
}

enum { PAIRWISE_MOST = 24 };

/* Whether two of the names are equal ("a" and the atom a). A set when there are many. */
static int refuse_twice(PyObject *names) {
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    if (n > PAIRWISE_MOST) {
        PyObject *set = PySet_New(names);
        Py_ssize_t different = set == NULL ? -1 : PySet_GET_SIZE(set);
        Py_XDECREF(set);
        if (different < 0 || different == n) {
            return different < 0 ? -1 : 0;
        }
    }
    for (Py_ssize_t i = 1; i < n; i++) {
        for (Py_ssize_t j = 0; j < i; j++) {
            PyObject *a = PyTuple_GET_ITEM(names, j), *b = PyTuple_GET_ITEM(names, i);
            if (a == b || PyUnicode_Compare(a, b) == 0) {
                PyErr_Format(pc_DecodeError, "the keyword %R is given twice, as a string and as an atom", a);
                return -1;
            }
        }
    }
    return 0;
}

static int read_keywords(struct pc_args *a, struct pc_decoder *d, PyObject *binary) {
    struct pc_token t;
    if (expect(d, PC_MAP, &t, no_map) < 0) {
        return -1;
    }
    if (t.type == PC_NIL || t.len == 0) {
        return 0;
    }
    a->kwnames = PyTuple_New((Py_ssize_t)t.len);
    if (a->kwnames == NULL || make_room(a, t.len) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < t.len; i++) {
        PyObject *name = read_name(d);
        if (name == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(a->kwnames, (Py_ssize_t)i, name);
        PyObject *value = read_value(d, binary, Py_NewRef(name), "**");
        if (value == NULL) {
            pc_path_push_key(&d->path, name);
            return -1;
        }
        a->items[a->count++] = value;
    }
    return refuse_twice(a->kwnames);
}

int pc_args_read(struct pc_args *a, struct pc_decoder *d, PyObject *binary) {
    if (read_positional(a, d, binary) < 0) {
        pc_path_complete(&d->path, "args");
        return -1;
    }
    if (read_keywords(a, d, binary) < 0) {
        pc_path_complete(&d->path, "kwargs");
        return -1;
    }
    return 0;
}

/* ---- Values that are there already */

static int take_keywords(struct pc_args *a, PyObject *kwargs) {
    Py_ssize_t at = 0, i = 0;
    PyObject *name, *value;
    size_t n = (size_t)PyDict_GET_SIZE(kwargs);
    if (n == 0) {
        return 0;
    }
    a->kwnames = PyTuple_New((Py_ssize_t)n);
    if (a->kwnames == NULL || make_room(a, n) < 0) {
        return -1;
    }
    while (PyDict_Next(kwargs, &at, &name, &value)) {
        PyTuple_SET_ITEM(a->kwnames, i++, Py_NewRef(name));
        a->items[a->count++] = Py_NewRef(value);
    }
    return 0;
}

int pc_args_take(struct pc_args *a, PyObject *args, PyObject *kwargs) {
    if (!PyList_CheckExact(args) || !(kwargs == Py_None || PyDict_CheckExact(kwargs))) {
        PyErr_SetString(pc_ProtocolError, PyList_CheckExact(args) ? no_map : no_array);
        return -1;
    }
    if (make_room(a, (size_t)PyList_GET_SIZE(args)) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args); i++) {
        a->items[a->count++] = Py_NewRef(PyList_GET_ITEM(args, i));
    }
    a->positional = a->count;
    return kwargs == Py_None ? 0 : take_keywords(a, kwargs);
}
