/* See refs.h. The table is a dict of dicts, calls and places; both keys are ints. A destructor may run any code, so nothing is dropped
 * while the table is being changed. */

#include "refs.h"

#include "decode.h"
#include "lazy.h"

enum { OTHER_TYPE = 1, FIELDS = 3 };

static PyObject *table; /* made with the first object */

/* ---- Out */

static int write_payload(struct pc_encoder *e, PyObject *object, Py_ssize_t index) {
    PyObject *name = pc_type_name(Py_TYPE(object));
    Py_ssize_t n;
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8AndSize(name, &n);
    if (text != NULL) {
        size_t mark = pc_write_ext_begin(e->w);
        pc_write_array(e->w, FIELDS);
        pc_write_uint(e->w, e->opts->refs->call);
        pc_write_int(e->w, index);
        pc_write_str(e->w, text, (size_t)n);
        pc_write_ext_end(e->w, mark, PC_EXT_REF);
    }
    Py_XDECREF(name);
    return text == NULL ? -1 : pc_encode_check(e);
}

int pc_ref_write(struct pc_encoder *e, PyObject *value) {
    int is = pc_lazy_is(value, PC_LAZY_REF);
    if (is <= 0) {
        return is < 0 ? -1 : OTHER_TYPE;
    }
    struct pc_refs_out *out = e->opts->refs;
    if (out == NULL) {
        return pc_encode_fail("a pitcrew.Ref can only be returned by a tool");
    }
    if (out->objects == NULL && (out->objects = PyList_New(0)) == NULL) {
        return -1;
    }
    PyObject *object = PyObject_GetAttrString(value, "value");
    int result = object == NULL ? -1 : PyList_Append(out->objects, object);
    if (result == 0) {
        result = write_payload(e, object, PyList_GET_SIZE(out->objects) - 1);
    }
    Py_XDECREF(object);
    return result;
}

/* ---- Kept */

static int add_all(PyObject *places, PyObject *objects) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects); i++) {
        PyObject *index = PyLong_FromSsize_t(i);
        int added = index == NULL ? -1 : PyDict_SetItem(places, index, PyList_GET_ITEM(objects, i));
        Py_XDECREF(index);
        if (added < 0) {
            return -1;
        }
    }
    return 0;
}

int pc_refs_keep(const struct pc_refs_out *out) {
    if (table == NULL && (table = PyDict_New()) == NULL) {
        return -1;
    }
    PyObject *call = PyLong_FromUnsignedLongLong(out->call);
    PyObject *places = call == NULL ? NULL : PyDict_New();
    int result = places == NULL || add_all(places, out->objects) < 0 ? -1 : PyDict_SetItem(table, call, places);
    Py_XDECREF(places);
    Py_XDECREF(call);
    return result;
}

/* A new reference to the places of a call; NULL without an exception when there are none. */
static PyObject *places_of(PyObject *call) {
    PyObject *places = table == NULL ? NULL : PyDict_GetItemWithError(table, call);
    return Py_XNewRef(places);
}

static PyObject *find(uint64_t call, int64_t index) {
    PyObject *name = PyLong_FromUnsignedLongLong(call);
    PyObject *place = name == NULL ? NULL : PyLong_FromLongLong(index);
    PyObject *places = place == NULL ? NULL : places_of(name);
    PyObject *object = places == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(places, place));
    Py_XDECREF(places);
    Py_XDECREF(place);
    Py_XDECREF(name);
    return object;
}

PyObject *pc_ref_read(const uint8_t *payload, uint32_t n) {
    struct pc_reader r;
    uint32_t count;
    uint64_t call;
    int64_t index;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 2 || pc_read_uint(&r, &call) != PC_OK ||
        pc_read_int(&r, &index) != PC_OK) {
        pc_decode_fail(PC_INVALID);
        return NULL;
    }
    PyObject *object = find(call, index);
    if (object == NULL && !PyErr_Occurred()) {
        PyErr_SetString(pc_DecodeError, "a reference to an object that this worker does not have");
    }
    return object;
}

/* Takes one place out; true if it was the last. The object goes at the end. */
static int drop_one(PyObject *places, int64_t index) {
    PyObject *place = PyLong_FromLongLong(index);
    PyObject *object = place == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(places, place));
    int result = place == NULL || PyErr_Occurred() ? -1 : 0;
    if (object != NULL) {
        result = PyDict_DelItem(places, place);
    }
    result = result < 0 ? -1 : PyDict_GET_SIZE(places) == 0;
    Py_XDECREF(place);
    Py_XDECREF(object);
    return result;
}

int pc_refs_drop(uint64_t call, int64_t index) {
    PyObject *name = PyLong_FromUnsignedLongLong(call);
    PyObject *places = name == NULL ? NULL : places_of(name);
    int result = PyErr_Occurred() ? -1 : 0;
    if (places != NULL) {
        result = index < 0 ? 1 : drop_one(places, index);
    }
    if (result > 0) {
        result = PyDict_DelItem(table, name);
    }
    Py_XDECREF(places);
    Py_XDECREF(name);
    return result;
}

PyObject *pc_refs_count(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    Py_ssize_t n = 0, at = 0;
    PyObject *call, *places;
    while (table != NULL && PyDict_Next(table, &at, &call, &places)) {
        n += PyDict_GET_SIZE(places);
    }
    return PyLong_FromSsize_t(n);
}
