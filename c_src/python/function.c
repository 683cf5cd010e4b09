/* See function.h. */

#include "function.h"

#include "codec/reader.h"
#include "decode.h"
#include "encode.h"
#include "guard.h"
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

/* Nothing runs between the look whether the call does and what waits for its end. */
static PyObject *call_with(const struct pc_function *f, PyObject *args, PyObject *kwargs) {
    if (caller == NULL || !caller->runs(f->call)) {
        pc_waiter_raise_gone();
        return NULL;
    }
    return caller->call(f, args, kwargs);
}

static PyObject *call(PyObject *self, PyObject *const *items, size_t nargsf, PyObject *names) {
    struct pc_function *f = (struct pc_function *)self;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (pc_guard_forked()) {
        PyErr_SetString(PyExc_RuntimeError, "a process that was forked by a tool cannot call functions of the VM");
        return NULL;
    }
    PyObject *args = list_of(items, n);
    PyObject *kwargs = args == NULL ? NULL : dict_of(items + n, names);
    PyObject *result = kwargs == NULL ? NULL : call_with(f, args, kwargs);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    return result;
}

/* Converters may run: nothing may be served any more behind the first. */
static int write_values(struct pc_outbox *out, PyObject *args, PyObject *kwargs) {
    const unsigned max_depth = caller->max_depth;
    if (pc_encode(&out->w, args, max_depth, "args") < 0) {
        return -1;
    }
    return pc_encode(&out->w, kwargs, max_depth, "kwargs");
}

int pc_function_write(struct pc_outbox *out, const struct pc_function *f, uint64_t id, PyObject *args,
                      PyObject *kwargs) {
    size_t mark = pc_outbox_begin(out, caller->max_frame);
    struct pc_writer *w = &out->w;
    pc_write_array(w, 4);
    pc_write_int(w, PC_KIND_CALL);
    pc_write_uint(w, id);
    pc_write_array(w, 2);
    pc_write_uint(w, f->call);
    pc_write_uint(w, f->index);
    pc_write_array(w, 2);
    if (write_values(out, args, kwargs) < 0) {
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

PyObject *pc_function_read(uint64_t call_id, const uint8_t *payload, uint32_t n) {
    struct pc_reader r;
    uint64_t index;
    pc_reader_init(&r, payload, n);
    if (pc_read_uint(&r, &index) != PC_OK || pc_reader_left(&r) > 0) {
        pc_decode_fail(PC_INVALID);
        return NULL;
    }
    struct pc_function *f = PyObject_New(struct pc_function, &pc_Function_Type);
    if (f != NULL) {
        f->vectorcall = call;
        f->call = call_id;
        f->index = index;
    }
    return (PyObject *)f;
}

static PyObject *function_repr(PyObject *self) {
    const struct pc_function *f = (const struct pc_function *)self;
    return PyUnicode_FromFormat("<pitcrew.Function %llu of call %llu>", (unsigned long long)f->index,
                                (unsigned long long)f->call);
}

PyTypeObject pc_Function_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.Function",
    .tp_doc = "A function of the VM's that came in the arguments of a call. Calling it runs it in the VM and gives "
              "what it returns; in an "
              "`async def` tool\nthat is to be awaited. Good for as long as that call runs.",
    .tp_basicsize = sizeof(struct pc_function),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(struct pc_function, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_repr = function_repr,
};

int pc_function_init(PyObject *module) { return PyModule_AddType(module, &pc_Function_Type); }
