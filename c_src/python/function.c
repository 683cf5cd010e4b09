/* See function.h. */

#include "function.h"

#include "codec/reader.h"
#include "current.h"
#include "decode.h"
#include "encode.h"
#include "guard.h"
#include "lazy.h"
#include "waiter.h"
#include "wire/kinds.h"

static const struct pc_caller *caller;

void pc_function_serve(const struct pc_caller *new_caller) { caller = new_caller; }

/* ---- Calling */

static PyObject *list_of(PyObject *const *items, Py_ssize_t n) {
    PyObject *list = PyList_New(n);
    for (Py_ssize_t i = 0; list != NULL && i < n; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(items[i]));
    }
    return list;
}

/* None where there are none. */
static PyObject *dict_of(PyObject *const *values, PyObject *names) {
    PyObject *dict = names == NULL || PyTuple_GET_SIZE(names) == 0 ? Py_NewRef(Py_None) : PyDict_New();
    for (Py_ssize_t i = 0; dict != NULL && dict != Py_None && i < PyTuple_GET_SIZE(names); i++) {
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), values[i]) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* Of a tool: the call that the code which calls it belongs to; or, in a thread that knows of none, the one that it was named in, or the only one. */
static int find_call(struct pc_function *f) {
    uint64_t id;
    if (pc_current(&id) < 0) {
        return -1;
    }
    f->call = id != 0 ? id : f->call;
    if (f->call == 0 && caller != NULL) {
        f->call = caller->only();
    }
    return 0;
}

static void raise_no_call(void) {
    PyObject *make = pc_lazy_get(PC_LAZY_MAKE_ELIXIR_ERROR);
    PyObject *error = make == NULL
                          ? NULL
                          : PyObject_CallFunction(make, "{ssss}", "kind", "gone", "message",
                                                  "tools of the VM can be called only inside of a call, while it runs");
    pc_exception_restore(error); /* without one there is another */
}

/* Nothing runs between the look whether the call does and what waits for its end. */
static PyObject *call_with(struct pc_function *f, PyObject *args, PyObject *kwargs) {
    if (f->name != NULL && find_call(f) < 0) {
        return NULL;
    }
    if (caller != NULL && caller->runs(f->call)) {
        return caller->call(f, args, kwargs);
    }
    if (f->name != NULL) {
        raise_no_call();
    } else {
        pc_waiter_raise_gone();
    }
    return NULL;
}

static PyObject *call(PyObject *self, PyObject *const *items, size_t nargsf, PyObject *names) {
    struct pc_function f = *(struct pc_function *)self; /* no object: only what it says is read */
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (pc_guard_forked()) {
        PyErr_SetString(PyExc_RuntimeError, "a process that was forked by a tool cannot call functions of the VM");
        return NULL;
    }
    PyObject *args = list_of(items, n);
    PyObject *kwargs = args == NULL ? NULL : dict_of(items + n, names);
    PyObject *result = kwargs == NULL ? NULL : call_with(&f, args, kwargs);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    return result;
}

static void write_flag(struct pc_writer *w, bool flag) {
    if (flag) {
        pc_write_bool(w, true);
    }
}

static int write_handle(struct pc_writer *w, const struct pc_function *f, bool waits) {
    pc_write_array(w, waits ? 3 : 2);
    pc_write_uint(w, f->call);
    if (f->name == NULL) {
        pc_write_uint(w, f->index);
        write_flag(w, waits);
        return 0;
    }
    Py_ssize_t n;
    const char *utf8 = PyUnicode_AsUTF8AndSize(f->name, &n);
    if (utf8 == NULL) {
        return -1;
    }
    pc_write_str(w, utf8, (size_t)n);
    write_flag(w, waits);
    return 0;
}

/* Converters may run: nothing may be served any more behind the first. */
static int write_values(struct pc_outbox *out, PyObject *args, PyObject *kwargs) {
    const unsigned max_depth = caller->max_depth;
    pc_write_array(&out->w, 2);
    if (pc_encode(&out->w, args, max_depth, "args") < 0) {
        return -1;
    }
    return pc_encode(&out->w, kwargs, max_depth, "kwargs");
}

int pc_function_write(struct pc_outbox *out, const struct pc_function *f, uint64_t id, bool waits, PyObject *args,
                      PyObject *kwargs) {
    size_t mark = pc_outbox_begin(out, caller->max_frame);
    struct pc_writer *w = &out->w;
    pc_write_array(w, 4);
    pc_write_int(w, PC_KIND_CALL);
    pc_write_uint(w, id);
    if (write_handle(w, f, waits) < 0 || write_values(out, args, kwargs) < 0) {
        pc_outbox_undo(out, mark);
        return -1;
    }
    if (pc_outbox_end(out, mark) != PC_OK) {
        (void)PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* ---- The type */

static PyObject *new_function(uint64_t call_id, uint64_t index, PyObject *name) {
    struct pc_function *f = PyObject_New(struct pc_function, &pc_Function_Type);
    if (f != NULL) {
        f->vectorcall = call;
        f->call = call_id;
        f->index = index;
        f->name = Py_XNewRef(name);
    }
    return (PyObject *)f;
}

PyObject *pc_function_read(uint64_t call_id, const uint8_t *payload, uint32_t n) {
    struct pc_reader r;
    uint64_t index;
    pc_reader_init(&r, payload, n);
    if (pc_read_uint(&r, &index) != PC_OK || pc_reader_left(&r) > 0) {
        pc_decode_fail(PC_INVALID);
        return NULL;
    }
    return new_function(call_id, index, NULL);
}

PyObject *pc_function_read_iterator(uint64_t call_id, const uint8_t *payload, uint32_t n) {
    PyObject *class = pc_lazy_get(PC_LAZY_ITERATOR);
    PyObject *function = class == NULL ? NULL : pc_function_read(call_id, payload, n);
    PyObject *iterator = function == NULL ? NULL : PyObject_CallOneArg(class, function);
    Py_XDECREF(function);
    return iterator;
}

PyObject *pc_function_tell(PyObject *module, PyObject *args) {
    (void)module;
    struct pc_function *f;
    PyObject *list;
    if (!PyArg_ParseTuple(args, "O!O!:tell", &pc_Function_Type, &f, &PyList_Type, &list)) {
        return NULL;
    }
    if (!pc_guard_forked() && caller != NULL && caller->runs(f->call) && caller->tell(f, list) < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}

PyObject *pc_function_tool(PyObject *module, PyObject *name) {
    (void)module;
    uint64_t id;
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "the name of a tool is a str, not %.100s", Py_TYPE(name)->tp_name);
        return NULL;
    }
    return pc_current(&id) < 0 ? NULL : new_function(id, 0, name);
}

static void function_dealloc(PyObject *self) {
    Py_XDECREF(((struct pc_function *)self)->name);
    PyObject_Free(self);
}

static PyObject *function_repr(PyObject *self) {
    const struct pc_function *f = (const struct pc_function *)self;
    if (f->name != NULL) {
        return PyUnicode_FromFormat("<pitcrew.Function '%U'>", f->name);
    }
    return PyUnicode_FromFormat("<pitcrew.Function %llu of call %llu>", (unsigned long long)f->index,
                                (unsigned long long)f->call);
}

PyTypeObject pc_Function_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.Function",
    .tp_doc =
        "A function of the VM's that came in the arguments of a call, or a tool of the VM's. Calling it runs it in "
        "the VM and gives what it returns; in an `async def` tool\nthat is to be awaited. A function is good for as "
        "long as that call runs, a tool in every call.",
    .tp_basicsize = sizeof(struct pc_function),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(struct pc_function, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dealloc = function_dealloc,
    .tp_repr = function_repr,
};

int pc_function_init(PyObject *module) { return PyModule_AddType(module, &pc_Function_Type); }
