/* See lazy.h. Each row owns what it holds; it is filled once. */

#include "lazy.h"

static struct {
    const char *module;
    const char *name;
    PyObject *key; /* the module's name as a str */
    PyObject *found;
} table[PC_LAZY_COUNT] = {
    [PC_LAZY_OPAQUE] = {"pitcrew.terms", "Opaque", NULL, NULL},
    [PC_LAZY_EXT] = {"pitcrew.terms", "Ext", NULL, NULL},
    [PC_LAZY_TIMESTAMP] = {"pitcrew.terms", "Timestamp", NULL, NULL},
    [PC_LAZY_MAP] = {"pitcrew.map", "Map", NULL, NULL},
    [PC_LAZY_MAP_OF_PAIRS] = {"pitcrew.map", "of_pairs", NULL, NULL},
    [PC_LAZY_TIME] = {"pitcrew.times", "Time", NULL, NULL},
    [PC_LAZY_DATETIME] = {"pitcrew.times", "DateTime", NULL, NULL},
    [PC_LAZY_MAKE_TIME] = {"pitcrew.times", "make_time", NULL, NULL},
    [PC_LAZY_MAKE_DATETIME] = {"pitcrew.times", "make_datetime", NULL, NULL},
    [PC_LAZY_MAKE_ZONED] = {"pitcrew.times", "make_zoned", NULL, NULL},
    [PC_LAZY_DESCRIBE_ZONE] = {"pitcrew.times", "describe_zone", NULL, NULL},
    [PC_LAZY_TENSOR] = {"pitcrew.tensors", "Tensor", NULL, NULL},
    [PC_LAZY_GIVEN] = {"pitcrew.buffers", "Given", NULL, NULL},
    [PC_LAZY_DESCRIBE_TENSOR] = {"pitcrew.tensors", "describe", NULL, NULL},
    [PC_LAZY_MAKE_TENSOR] = {"pitcrew.tensors", "make", NULL, NULL},
    [PC_LAZY_READ_JSON] = {"pitcrew.jsontext", "read", NULL, NULL},
    [PC_LAZY_ARROW] = {"pitcrew.arrow", "Arrow", NULL, NULL},
    [PC_LAZY_DUMP_ARROW] = {"pitcrew.arrow", "dump", NULL, NULL},
    [PC_LAZY_REF] = {"pitcrew.refs", "Ref", NULL, NULL},
    [PC_LAZY_DECIMAL] = {"decimal", "Decimal", NULL, NULL},
    [PC_LAZY_NUMPY_GENERIC] = {"numpy", "generic", NULL, NULL},
    [PC_LAZY_NUMPY_ARRAY] = {"numpy", "ndarray", NULL, NULL},
    [PC_LAZY_ARROW_TABLE] = {"pyarrow", "Table", NULL, NULL},
    [PC_LAZY_ARROW_BATCH] = {"pyarrow", "RecordBatch", NULL, NULL},
    [PC_LAZY_PANDAS_FRAME] = {"pandas", "DataFrame", NULL, NULL},
    [PC_LAZY_POLARS_FRAME] = {"polars", "DataFrame", NULL, NULL},
    [PC_LAZY_LOOP] = {"pitcrew.aio", "loop", NULL, NULL},
    [PC_LAZY_INNER_LOOP] = {"pitcrew.aio", "inner_loop", NULL, NULL},
    [PC_LAZY_STREAM] = {"pitcrew.aio", "stream", NULL, NULL},
    [PC_LAZY_WAIT_INPUT] = {"pitcrew.aio", "wait_input", NULL, NULL},
    [PC_LAZY_EVENT] = {"pitcrew.aio", "Event", NULL, NULL},
    [PC_LAZY_WAIT_EVENT] = {"pitcrew.aio", "wait_event", NULL, NULL},
    [PC_LAZY_CANCELLED] = {"pitcrew.aio", "Cancelled", NULL, NULL},
    [PC_LAZY_CANCELLED_ERROR] = {"pitcrew.aio", "CancelledError", NULL, NULL},
    [PC_LAZY_START_HAND] = {"pitcrew.hands", "start", NULL, NULL},
    [PC_LAZY_MAKE_ELIXIR_ERROR] = {"pitcrew.functions", "make_error", NULL, NULL},
    [PC_LAZY_ITERATOR] = {"pitcrew.iterators", "Iterator", NULL, NULL},
    [PC_LAZY_BATCH_EACH] = {"pitcrew.batch", "each", NULL, NULL},
    [PC_LAZY_BATCH_AT_ONCE] = {"pitcrew.batch", "at_once", NULL, NULL},
    [PC_LAZY_TRACE_ATTACH] = {"pitcrew.trace", "attach", NULL, NULL},
    [PC_LAZY_TRACE_DETACH] = {"pitcrew.trace", "detach", NULL, NULL},
    [PC_LAZY_EVENT_WORDS] = {"pitcrew.events", "words", NULL, NULL},
    [PC_LAZY_EVENT_MEASUREMENTS] = {"pitcrew.events", "usual_measurements", NULL, NULL},
    [PC_LAZY_EVENT_METADATA] = {"pitcrew.events", "usual_metadata", NULL, NULL},
    [PC_LAZY_EVENT_RESERVED] = {"pitcrew.events", "RESERVED", NULL, NULL},
    [PC_LAZY_EVENT_RESERVED_NUMBERS] = {"pitcrew.events", "RESERVED_NUMBERS", NULL, NULL},
};

static PyObject *keep(enum pc_lazy which, PyObject *module) {
    if (module != NULL) {
        table[which].found = PyObject_GetAttrString(module, table[which].name);
        Py_DECREF(module);
    }
    return table[which].found;
}

PyObject *pc_lazy_get(enum pc_lazy which) {
    PyObject *found = table[which].found;
    return found != NULL ? found : keep(which, PyImport_ImportModule(table[which].module));
}

/* Borrowed; NULL without an exception when there can be no instance yet. */
static PyObject *peek(enum pc_lazy which) {
    if (table[which].found != NULL) {
        return table[which].found;
    }
    if (table[which].key == NULL) {
        table[which].key = PyUnicode_InternFromString(table[which].module);
    }
    PyObject *module = table[which].key == NULL ? NULL : PyImport_GetModule(table[which].key);
    PyObject *found = keep(which, module);
    if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* the module is still being imported, or is another one of that name */
    }
    return found;
}

int pc_lazy_is(PyObject *value, enum pc_lazy which) {
    PyObject *class = peek(which);
    if (class == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyType_Check(class) && PyObject_TypeCheck(value, (PyTypeObject *)class);
}
