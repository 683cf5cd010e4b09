/*
 * Atom, FrozenList, FrozenDict: subclasses of str, list and dict, so that isinstance, ==, **d and every reader work.
 * Frozen types refuse the methods that change them; elements are put in by tp_new alone. Calling the base class's own
 * methods on one (`list.append(frozen, 1)`) is beyond what a subclass can refuse.
 */

#include "types.h"

/* ---- Atom */

static PyObject *atom_repr(PyObject *self) {
    PyObject *text = PyUnicode_Type.tp_repr(self);
    PyObject *repr = text == NULL ? NULL : PyUnicode_FromFormat("Atom(%U)", text);
    Py_XDECREF(text);
    return repr;
}

PyTypeObject pc_Atom_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.Atom",
    .tp_doc = "An atom: a str that equals its text, and goes back to the VM as an atom.",
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_base = &PyUnicode_Type,
    .tp_repr = atom_repr,
};

/* ---- What the frozen types share */

static PyObject *refuse(PyObject *self) {
    PyErr_Format(PyExc_TypeError, "%s cannot be changed: it is (part of) a key of a map", Py_TYPE(self)->tp_name);
    return NULL;
}

static PyObject *refuse_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    (void)args, (void)nargs, (void)kwnames;
    return refuse(self);
}

static PyObject *refuse_inplace(PyObject *self, PyObject *other) {
    (void)other;
    return refuse(self);
}

static PyObject *refuse_repeat(PyObject *self, Py_ssize_t count) {
    (void)count;
    return refuse(self);
}

static int refuse_index(PyObject *self, Py_ssize_t index, PyObject *value) {
    (void)index, (void)value;
    (void)refuse(self);
    return -1;
}

static int refuse_item(PyObject *self, PyObject *key, PyObject *value) {
    (void)key, (void)value;
    (void)refuse(self);
    return -1;
}

/* tp_new has done it all; a second __init__ must change nothing. */
static int frozen_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)self, (void)args, (void)kwargs;
    return 0;
}

#define REFUSED(name)                                                                                                  \
    { name, (PyCFunction)(void (*)(void))refuse_method, METH_FASTCALL | METH_KEYWORDS, "Refused." }

/* "FrozenList([1])": the base type's own repr between our name and a bracket. */
static PyObject *frozen_repr(PyObject *self, PyTypeObject *base, const char *name) {
    PyObject *text = base->tp_repr(self);
    PyObject *repr = text == NULL ? NULL : PyUnicode_FromFormat("%s(%U)", name, text);
    Py_XDECREF(text);
    return repr;
}

/* copy and pickle: (type, (plain,)). Steals plain. */
static PyObject *frozen_reduce(PyObject *self, PyObject *plain) {
    return plain == NULL ? NULL : Py_BuildValue("(O(N))", (PyObject *)Py_TYPE(self), plain);
}

/* ---- FrozenList */

static PyObject *frozen_list_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *items = NULL;
    static char *names[] = {"", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:FrozenList", names, &items)) {
        return NULL;
    }
    PyObject *self = PyList_Type.tp_new(type, args, NULL);
    if (self != NULL && items != NULL && PyList_SetSlice(self, 0, 0, items) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

static Py_hash_t frozen_list_hash(PyObject *self) {
    PyObject *tuple = PyList_AsTuple(self);
    Py_hash_t hash = tuple == NULL ? -1 : PyObject_Hash(tuple);
    Py_XDECREF(tuple);
    return hash;
}

static PyObject *frozen_list_repr(PyObject *self) { return frozen_repr(self, &PyList_Type, "FrozenList"); }

static PyObject *frozen_list_reduce(PyObject *self, PyObject *protocol) {
    (void)protocol;
    return frozen_reduce(self, PyList_GetSlice(self, 0, PY_SSIZE_T_MAX));
}

static PyMethodDef frozen_list_methods[] = {
    REFUSED("append"),     REFUSED("clear"), REFUSED("extend"),
    REFUSED("insert"),     REFUSED("pop"),   REFUSED("remove"),
    REFUSED("reverse"),    REFUSED("sort"),  {"__reduce_ex__", frozen_list_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods frozen_list_sequence = {
    .sq_ass_item = refuse_index,
    .sq_inplace_concat = refuse_inplace,
    .sq_inplace_repeat = refuse_repeat,
};

static PyMappingMethods frozen_list_mapping = {.mp_ass_subscript = refuse_item};

PyTypeObject pc_FrozenList_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.FrozenList",
    .tp_doc = "A list that cannot change and can be a dict's key; goes back to the VM as a list.",
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_base = &PyList_Type,
    .tp_new = frozen_list_new,
    .tp_init = frozen_init,
    .tp_hash = frozen_list_hash,
    .tp_repr = frozen_list_repr,
    .tp_methods = frozen_list_methods,
    .tp_as_sequence = &frozen_list_sequence,
    .tp_as_mapping = &frozen_list_mapping,
};

/* ---- FrozenDict */

static PyObject *frozen_dict_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *self = PyDict_Type.tp_new(type, args, kwargs);
    if (self != NULL && PyDict_Type.tp_init(self, args, kwargs) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

/* Equal dicts may differ in their order, so the order must not count. */
static Py_hash_t frozen_dict_hash(PyObject *self) {
    PyObject *items = PyDict_Items(self);
    PyObject *set = items == NULL ? NULL : PyFrozenSet_New(items);
    Py_hash_t hash = set == NULL ? -1 : PyObject_Hash(set);
    Py_XDECREF(items);
    Py_XDECREF(set);
    return hash;
}

static PyObject *frozen_dict_repr(PyObject *self) { return frozen_repr(self, &PyDict_Type, "FrozenDict"); }

static PyObject *frozen_dict_reduce(PyObject *self, PyObject *protocol) {
    (void)protocol;
    return frozen_reduce(self, PyDict_Copy(self));
}

static PyMethodDef frozen_dict_methods[] = {
    REFUSED("clear"),      REFUSED("pop"),    REFUSED("popitem"),
    REFUSED("setdefault"), REFUSED("update"), {"__reduce_ex__", frozen_dict_reduce, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyNumberMethods frozen_dict_number = {.nb_inplace_or = refuse_inplace};

static PyMappingMethods frozen_dict_mapping = {.mp_ass_subscript = refuse_item};

PyTypeObject pc_FrozenDict_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pitcrew.FrozenDict",
    .tp_doc = "A dict that cannot change and can be a dict's key; goes back to the VM as a map.",
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_base = &PyDict_Type,
    .tp_new = frozen_dict_new,
    .tp_init = frozen_init,
    .tp_hash = frozen_dict_hash,
    .tp_repr = frozen_dict_repr,
    .tp_methods = frozen_dict_methods,
    .tp_as_number = &frozen_dict_number,
    .tp_as_mapping = &frozen_dict_mapping,
};

int pc_types_init(PyObject *module) {
    /* A type with a hash of its own does not inherit the comparison. */
    pc_FrozenList_Type.tp_richcompare = PyList_Type.tp_richcompare;
    pc_FrozenDict_Type.tp_richcompare = PyDict_Type.tp_richcompare;
    return PyModule_AddType(module, &pc_Atom_Type) < 0 || PyModule_AddType(module, &pc_FrozenList_Type) < 0 ||
                   PyModule_AddType(module, &pc_FrozenDict_Type) < 0
               ? -1
               : 0;
}
