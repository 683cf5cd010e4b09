/*
 * The slow side of the encoder: converters of the user's, subclasses, and the types of docs/protocol.md that have an
 * extension. Each step says 0 (written), 1 (not its type) or -1.
 */

#include "arrow.h"
#include "converters.h"
#include "decimals.h"
#include "encoder.h"
#include "lazy.h"
#include "refs.h"
#include "scalars.h"
#include "tensors.h"
#include "terms.h"
#include "times.h"
#include "twins.h"
#include "types.h"

enum { OTHER_TYPE = 1 };

/* What a function of the user's made of the value; it counts as a level, so that one that returns its argument ends. */
static int encode_converted(struct pc_encoder *e, PyObject *function, PyObject *value) {
    if (function == NULL) {
        return PyErr_Occurred() ? -1 : OTHER_TYPE;
    }
    if (pc_encode_enter(e) < 0) {
        return -1;
    }
    Py_INCREF(function); /* it may register another in its place */
    PyObject *made = PyObject_CallOneArg(function, value);
    int result = made == NULL ? -1 : pc_encode_value(e, made);
    Py_XDECREF(made);
    Py_DECREF(function);
    pc_encode_leave(e);
    return result;
}

static int encode_subclass(struct pc_encoder *e, PyObject *value) {
    if (PyUnicode_Check(value)) {
        bool atom = PyObject_TypeCheck(value, &pc_Atom_Type) && !e->opts->plain;
        return atom ? pc_scalar_write_atom(e, value) : pc_scalar_write_str(e, value);
    }
    if (PyLong_Check(value)) {
        return pc_scalar_write_int(e, value);
    }
    if (PyFloat_Check(value)) {
        pc_write_double(e->w, PyFloat_AS_DOUBLE(value));
        return 0;
    }
    if (PyDict_Check(value)) {
        return pc_encode_dict(e, value);
    }
    if (PyList_Check(value)) {
        return pc_encode_list(e, value);
    }
    if (PyTuple_Check(value)) {
        return pc_encode_tuple(e, value);
    }
    if (PyBytes_Check(value)) {
        pc_scalar_write_bytes(e, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
        return 0;
    }
    if (PyByteArray_Check(value)) {
        return pc_scalar_write_bytearray(e, value);
    }
    return PyMemoryView_Check(value) ? pc_scalar_write_memoryview(e, value) : OTHER_TYPE;
}

static int encode_elements(struct pc_encoder *e, PyObject *items) {
    struct pc_twins twins = {false, false, false};
    Py_ssize_t n = PyList_GET_SIZE(items);
    pc_write_array(e->w, (size_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        pc_twins_note(&twins, item);
        if (pc_encode_as_key(e, item) < 0) {
            return pc_encode_key_error(e, item, "element");
        }
    }
    return pc_twins_possible(e, &twins) && n > 1 ? pc_twins_refuse(e, items, "elements") : 0;
}

static int encode_set(struct pc_encoder *e, PyObject *set) {
    if (!PyAnySet_Check(set)) {
        return OTHER_TYPE;
    }
    PyObject *items = pc_encode_enter(e) < 0 ? NULL : PySequence_List(set);
    if (items == NULL) {
        return -1;
    }
    size_t mark = pc_write_ext_begin(e->w);
    int result = encode_elements(e, items);
    Py_DECREF(items);
    if (result < 0) {
        return -1;
    }
    pc_write_ext_end(e->w, mark, PC_EXT_SET);
    pc_encode_leave(e);
    return pc_encode_check(e);
}

static int encode_map(struct pc_encoder *e, PyObject *value) {
    int is = pc_lazy_is(value, PC_LAZY_MAP);
    return is > 0 ? pc_encode_map(e, value) : is < 0 ? -1 : OTHER_TYPE;
}

/* Only Pitcrew's own mapping has these; the codec for strangers refuses them. Tables, which have no buffer, come last: they are of many classes. */
static int encode_typed(struct pc_encoder *e, PyObject *value) {
    static int (*const steps[])(struct pc_encoder *, PyObject *) = {
        encode_set, pc_term_write_opaque, pc_decimal_write, pc_ref_write, pc_tensor_write, pc_arrow_write,
    };
    int result = e->opts->plain ? OTHER_TYPE : 0;
    for (size_t i = 0; !e->opts->plain && i < sizeof steps / sizeof *steps; i++) {
        result = steps[i](e, value);
        if (result != OTHER_TYPE) {
            break;
        }
    }
    return result;
}

static int encode_known(struct pc_encoder *e, PyObject *value) {
    static int (*const steps[])(struct pc_encoder *, PyObject *) = {
        encode_subclass, pc_time_write, pc_scalar_write_number, encode_map, pc_term_write_ext, encode_typed,
    };
    int result = OTHER_TYPE;
    for (size_t i = 0; result == OTHER_TYPE && i < sizeof steps / sizeof *steps; i++) {
        result = steps[i](e, value);
    }
    return result;
}

int pc_encode_other(struct pc_encoder *e, PyObject *value) {
    int result = encode_converted(e, pc_converters_find(Py_TYPE(value), 0), value);
    if (result == OTHER_TYPE) {
        result = encode_known(e, value);
    }
    if (result == OTHER_TYPE) {
        result = encode_converted(e, pc_converters_find(Py_TYPE(value), 1), value);
    }
    if (result == OTHER_TYPE) {
        result = encode_converted(e, e->opts->fallback, value);
    }
    return result == OTHER_TYPE ? pc_scalar_unsupported(e, value) : result;
}
