/*
 * See twins.h. Two keys are one term if their bytes on the wire are the same once bytes are written as text, and atoms that
 * are values of Python's as those. Sets in keys have an order on the wire, so twins in two of them are not seen.
 */

#include "twins.h"

#include <math.h>

#include "codec.h"
#include "codec/limits.h"
#include "scalars.h"
#include "types.h"

static bool is_special_atom(PyObject *key) {
    struct pc_writer w;
    uint8_t room[PC_SCALAR_SPECIAL_MOST];
    pc_writer_init(&w, room, sizeof room, sizeof room, NULL, NULL);
    return pc_scalar_write_special(&w, key);
}

static bool are_none(PyObject *tuple) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        if (!PyUnicode_CheckExact(item) && !pc_twins_has_none(item)) {
            return false;
        }
    }
    return true;
}

bool pc_twins_has_none(PyObject *key) {
    PyTypeObject *type = Py_TYPE(key);
    if (type == &PyLong_Type || type == &PyBool_Type || key == Py_None) {
        return true;
    }
    if (type == &pc_Atom_Type) {
        return !is_special_atom(key);
    }
    if (type == &PyTuple_Type) {
        bool deep = Py_EnterRecursiveCall("") != 0;
        bool none = !deep && are_none(key);
        if (deep) {
            PyErr_Clear(); /* the encoder, which is asked next, has a limit of its own */
        } else {
            Py_LeaveRecursiveCall();
        }
        return none;
    }
    return type == &PyFloat_Type && !isnan(PyFloat_AS_DOUBLE(key));
}

/* The bytes that tell terms apart; there are NaNs of many bits, and one in the VM. */
static PyObject *term_of(const struct pc_encoder *e, PyObject *key) {
    struct pc_encode_opts opts = *e->opts;
    opts.as_terms = opts.bin_as_str = true;
    opts.lent = NULL;
    if (!PyFloat_CheckExact(key) || !isnan(PyFloat_AS_DOUBLE(key))) {
        return pc_codec_pack(key, &opts, PC_MAX_FRAME, "key");
    }
    PyObject *nan = PyFloat_FromDouble(Py_NAN);
    PyObject *term = nan == NULL ? NULL : pc_codec_pack(nan, &opts, PC_MAX_FRAME, "key");
    Py_XDECREF(nan);
    return term;
}

static int refuse_known(const struct pc_encoder *e, PyObject *seen, PyObject *key, const char *what) {
    PyObject *term = term_of(e, key);
    PyObject *first = term == NULL ? NULL : PyDict_GetItemWithError(seen, term);
    int result = -1;
    if (first != NULL) {
        PyErr_Format(pc_EncodeError, "the %s %R and %R would be one term in the VM", what, first, key);
    } else if (!PyErr_Occurred()) {
        result = PyDict_SetItem(seen, term, key);
    }
    Py_XDECREF(term);
    return result;
}

int pc_twins_refuse(const struct pc_encoder *e, PyObject *keys, const char *what) {
    PyObject *seen = PyDict_New();
    int result = seen == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(keys); i++) {
        result = refuse_known(e, seen, PyList_GET_ITEM(keys, i), what);
    }
    Py_XDECREF(seen);
    return result;
}
