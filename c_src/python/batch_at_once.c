/* A batch of a tool that takes all at once: its calls become one call, and what that returns becomes the results of all. */

#include "batch_run.h"

/* Raises a refusal of that kind. Steals the message; where that is NULL, its exception stays. */
static void refuse(const char *kind, PyObject *message) {
    PyObject *args = message == NULL ? NULL : Py_BuildValue("(sN)", kind, message);
    if (args != NULL) {
        PyErr_SetObject(pc_Refused, args);
        Py_DECREF(args);
    }
}

/* What stands for a call in the list; NULL with an exception. */
static PyObject *element(const struct pc_batch_item *item) {
    PyObject *values = item->what, *names = item->kwnames;
    Py_ssize_t n = PyTuple_GET_SIZE(values);
    if (names == NULL) {
        return Py_NewRef(n == 1 ? PyTuple_GET_ITEM(values, 0) : values);
    }
    if (PyTuple_GET_SIZE(names) < n) {
        refuse("bad_arguments", PyUnicode_FromString("in a batch of a tool with batch=True a call has arguments by "
                                                     "position or by name, not both"));
        return NULL;
    }
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict != NULL && i < n; i++) {
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), PyTuple_GET_ITEM(values, i)) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

/* The list of all calls that can be made. */
static PyObject *gather(struct pc_batch *b) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        struct pc_batch_item *item = &b->items[i];
        if (item->state != PC_BATCH_WAITS) {
            continue;
        }
        PyObject *value = element(item);
        if (value == NULL) {
            pc_batch_settle(item, NULL, pc_exception_take());
        } else if (PyList_Append(list, value) < 0) {
            Py_CLEAR(list);
        } else {
            Py_CLEAR(item->what);
            Py_CLEAR(item->kwnames);
        }
        Py_XDECREF(value);
    }
    return list;
}

void pc_batch_fail(struct pc_batch *b, PyObject *exception) {
    for (size_t i = 0; i < b->count; i++) {
        if (b->items[i].state == PC_BATCH_WAITS) {
            pc_batch_settle(&b->items[i], NULL, Py_NewRef(exception));
        }
    }
    Py_DECREF(exception);
}

static Py_ssize_t waiting(const struct pc_batch *b) {
    Py_ssize_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        n += b->items[i].state == PC_BATCH_WAITS;
    }
    return n;
}

/* A list with a result for each, or NULL with an exception. */
static PyObject *results_of(PyObject *result, Py_ssize_t n) {
    bool is_text = PyUnicode_Check(result) || PyBytes_Check(result) || PyByteArray_Check(result);
    if (is_text || !PySequence_Check(result)) {
        PyObject *type = pc_type_name(Py_TYPE(result));
        refuse("result_error", type == NULL
                                   ? NULL
                                   : PyUnicode_FromFormat("a tool with batch=True returns a list with a result "
                                                          "for each call, not a value of type %U",
                                                          type));
        Py_XDECREF(type);
        return NULL;
    }
    PyObject *list = PySequence_List(result);
    if (list != NULL && PyList_GET_SIZE(list) != n) {
        refuse("result_error", PyUnicode_FromFormat("a tool with batch=True returns a result for each call; it has "
                                                    "returned %zd for %zd",
                                                    PyList_GET_SIZE(list), n));
        Py_CLEAR(list);
    }
    return list;
}

int pc_batch_spread(struct pc_batch *b, PyObject *result) {
    PyObject *list = results_of(result, waiting(b));
    if (list == NULL) {
        if (pc_batch_is_over()) {
            return -1;
        }
        pc_batch_fail(b, pc_exception_take());
        return 0;
    }
    Py_ssize_t at = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct pc_batch_item *item = &b->items[i];
        if (item->state == PC_BATCH_WAITS) {
            PyObject *value = Py_NewRef(PyList_GET_ITEM(list, at++));
            bool raised = PyExceptionInstance_Check(value);
            pc_batch_settle(item, raised ? NULL : value, raised ? value : NULL);
            item->state = raised ? PC_BATCH_RAISED : PC_BATCH_DONE;
        }
    }
    Py_DECREF(list);
    return 0;
}

PyObject *pc_batch_run_at_once(struct pc_batch *b) {
    PyObject *list = gather(b);
    if (list == NULL || pc_batch_must_stop(b)) {
        Py_XDECREF(list);
        return NULL;
    }
    if (PyList_GET_SIZE(list) == 0) {
        Py_DECREF(list);
        return Py_NewRef((PyObject *)b);
    }
    PyObject *result = PyObject_CallOneArg(b->tool, list);
    Py_DECREF(list);
    if (pc_batch_is_over()) {
        Py_XDECREF(result);
        return NULL;
    }
    if (result == NULL) {
        pc_batch_fail(b, pc_exception_take());
    } else if (PyCoro_CheckExact(result)) {
        return pc_batch_wait(b, PC_LAZY_BATCH_AT_ONCE, result);
    } else {
        int spread_out = pc_batch_spread(b, result);
        Py_DECREF(result);
        if (spread_out < 0) {
            return NULL;
        }
    }
    return Py_NewRef((PyObject *)b);
}
