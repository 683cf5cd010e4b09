/*
 * See events.h. A frame is made on the stack if it is short. What is checked on the usual path is checked here; whatever is unusual goes to
 * pitcrew/events.py, which makes it usual or says what is wrong with it.
 *
 * Invariant: measurements and metadata stand in the frame as bytes, so that nothing in them can spoil the side channel for the VM.
 */

#include "events.h"

#include <math.h>
#include <stdlib.h>

#include "context.h"
#include "current.h"
#include "encode.h"
#include "guard.h"
#include "lazy.h"
#include "records.h"
#include "wire/clock.h"
#include "wire/kinds.h"

enum { MOST_BYTES = 16 * 1024, SHORT = 1024, MOST_DEPTH = 16, MOST_NAMES = 1024, NO_DURATION = -1 };

struct event {
    PyObject *name, *measurements, *metadata; /* borrowed; the last two may be NULL */
    int64_t duration_ns;
};

static PyObject *names; /* dict: a name as it was given -> its words as bytes of MessagePack */

int pc_events_init(void) {
    names = names == NULL ? PyDict_New() : names;
    return names == NULL ? -1 : 0;
}

/* ---- Names */

/* Of a tuple of str. */
static PyObject *pack_words(PyObject *words) {
    struct pc_writer w;
    const struct pc_encode_opts opts = {.plain = true, .max_depth = 2};
    pc_writer_init(&w, NULL, 0, MOST_BYTES, pc_grow_malloc, NULL);
    PyObject *bytes = NULL;
    if (pc_encode_with(&w, words, &opts, "name") == 0) {
        bytes = PyBytes_FromStringAndSize((const char *)w.data, (Py_ssize_t)w.len);
    }
    free(w.data);
    return bytes;
}

/* A name that was not seen before, or lately. */
static PyObject *learn(PyObject *key) {
    PyObject *check = pc_lazy_get(PC_LAZY_EVENT_WORDS);
    PyObject *words = check == NULL ? NULL : PyObject_CallOneArg(check, key);
    PyObject *bytes = words == NULL ? NULL : pack_words(words);
    Py_XDECREF(words);
    if (bytes != NULL && PyDict_GET_SIZE(names) >= MOST_NAMES) {
        PyDict_Clear(names);
    }
    if (bytes != NULL && PyDict_SetItem(names, key, bytes) < 0) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

static PyObject *words_of(PyObject *name) {
    PyObject *key = PyUnicode_CheckExact(name) || PyTuple_CheckExact(name) || PyUnicode_Check(name)
                        ? Py_NewRef(name)
                        : PySequence_Tuple(name);
    if (key == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            (void)PyErr_Format(PyExc_TypeError, "the name of an event is a str, or a sequence of them, not %R", name);
        }
        return NULL;
    }
    PyObject *found = PyDict_GetItemWithError(names, key);
    PyObject *bytes = found != NULL ? Py_NewRef(found) : PyErr_Occurred() ? NULL : learn(key);
    Py_DECREF(key);
    return bytes;
}

/* ---- Measurements and metadata */

static bool is_usual_number(PyObject *value) {
    return PyLong_CheckExact(value) || (PyFloat_CheckExact(value) && isfinite(PyFloat_AS_DOUBLE(value)));
}

/* Whether its keys are names that are nobody else's, and its values numbers, if they are to be. Runs no code but a str's hash. */
static bool is_usual(PyObject *dict, PyObject *reserved, bool numbers) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    bool usual = PyDict_CheckExact(dict);
    while (usual && PyDict_Next(dict, &at, &key, &value)) {
        usual = PyUnicode_CheckExact(key) && PySet_Contains(reserved, key) == 0 && (!numbers || is_usual_number(value));
    }
    return usual;
}

/* The dict itself, or what events.py makes of it. */
static PyObject *usual(PyObject *given, enum pc_lazy reserved, enum pc_lazy check) {
    PyObject *words = pc_lazy_get(reserved);
    if (words == NULL) {
        return NULL;
    }
    if (is_usual(given, words, check == PC_LAZY_EVENT_MEASUREMENTS)) {
        return Py_NewRef(given);
    }
    PyObject *make = pc_lazy_get(check);
    return make == NULL ? NULL : PyObject_CallOneArg(make, given);
}

static int write_part(struct pc_writer *w, PyObject *given, enum pc_lazy reserved, enum pc_lazy check,
                      const char *root) {
    if (given == NULL || given == Py_None) {
        pc_write_map(w, 0);
        return 0;
    }
    const struct pc_encode_opts opts = {.max_depth = MOST_DEPTH};
    PyObject *dict = usual(given, reserved, check);
    int result = dict == NULL ? -1 : pc_encode_with(w, dict, &opts, root);
    Py_XDECREF(dict);
    return result;
}

/* A bin whose length is known afterwards. */
static int write_data(struct pc_writer *w, const struct event *e) {
    enum { HEADER = 5, BIN32 = 0xc6 };
    size_t at = w->len;
    (void)pc_writer_claim(w, HEADER);
    pc_write_array(w, 2);
    if (write_part(w, e->measurements, PC_LAZY_EVENT_RESERVED_NUMBERS, PC_LAZY_EVENT_MEASUREMENTS, "measurements") <
            0 ||
        write_part(w, e->metadata, PC_LAZY_EVENT_RESERVED, PC_LAZY_EVENT_METADATA, "metadata") < 0) {
        return -1;
    }
    if (w->status == PC_OK) {
        size_t n = w->len - at - HEADER;
        const uint8_t header[HEADER] = {BIN32, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        memcpy(w->data + at, header, HEADER);
    }
    return 0;
}

/* ---- Frames */

/* A str, or NULL. */
static int write_text(struct pc_writer *w, PyObject *text) {
    Py_ssize_t n;
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8 != NULL) {
        pc_write_str(w, utf8, (size_t)n);
    } else {
        pc_write_nil(w);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int write_event(struct pc_writer *w, const struct event *e, PyObject *words) {
    enum { FIELDS = 8 };
    uint64_t id = 0;
    PyObject *tool = NULL;
    if (pc_current_call(&id, &tool) < 0) {
        return -1;
    }
    size_t mark = pc_write_frame_begin(w);
    pc_write_array(w, FIELDS);
    pc_write_int(w, PC_KIND_EVENT);
    pc_write_uint(w, id);
    pc_writer_append(w, PyBytes_AS_STRING(words), (size_t)PyBytes_GET_SIZE(words));
    int result = write_text(w, tool);
    Py_XDECREF(tool);
    pc_write_int(w, pc_clock_ns());
    if (e->duration_ns == NO_DURATION) {
        pc_write_nil(w);
    } else {
        pc_write_int(w, e->duration_ns);
    }
    if (result < 0 || write_data(w, e) < 0) {
        return -1;
    }
    PyObject *parent = pc_context_traceparent();
    result = PyErr_Occurred() ? -1 : write_text(w, parent);
    Py_XDECREF(parent);
    if (result < 0) {
        return -1;
    }
    pc_write_frame_end(w, mark);
    return 0;
}

static bool grow(struct pc_writer *w, size_t need) {
    uint8_t *bytes = w->owner == NULL ? malloc(need) : realloc(w->owner, need);
    if (bytes == NULL) {
        return false;
    }
    if (w->owner == NULL) {
        memcpy(bytes, w->data, w->len);
    }
    w->owner = w->data = bytes;
    w->cap = need;
    return true;
}

static PyObject *send_event(const struct event *e) {
    uint8_t near[SHORT];
    struct pc_writer w;
    PyObject *words = words_of(e->name), *result = NULL;
    if (words == NULL) {
        return NULL;
    }
    pc_writer_init(&w, near, sizeof near, MOST_BYTES, grow, NULL);
    if (write_event(&w, e, words) == 0) {
        bool open = w.status == PC_OK && !pc_guard_forked();
        result = PyBool_FromLong(open && pc_records_put(PC_RECORDS_EVENTS, w.data, w.len) == PC_RECORDS_TAKEN);
    }
    free(w.owner);
    Py_DECREF(words);
    return result;
}

/* ---- Module functions */

static PyObject *wrong_arguments(void) {
    PyErr_SetString(PyExc_TypeError, "emit() takes the name of an event, measurements and metadata");
    return NULL;
}

static int take_keyword(struct event *e, PyObject *keyword, PyObject *value) {
    static const char *const words[] = {"name", "measurements", "metadata"};
    PyObject **fields[] = {&e->name, &e->measurements, &e->metadata};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (PyUnicode_CompareWithASCIIString(keyword, words[i]) == 0 && *fields[i] == NULL) {
            *fields[i] = value;
            return 0;
        }
    }
    return -1;
}

PyObject *pc_events_emit(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    (void)module;
    enum { MOST = 3 };
    if (n > MOST) {
        return wrong_arguments();
    }
    struct event e = {n > 0 ? args[0] : NULL, n > 1 ? args[1] : NULL, n > 2 ? args[2] : NULL, NO_DURATION};
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        if (take_keyword(&e, PyTuple_GET_ITEM(kwnames, i), args[n + i]) < 0) {
            return wrong_arguments();
        }
    }
    return e.name == NULL ? wrong_arguments() : send_event(&e);
}

PyObject *pc_events_emit_span(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    enum { ALL = 4 };
    if (n != ALL) {
        return wrong_arguments();
    }
    struct event e = {args[0], args[2], args[3], PyLong_AsLongLong(args[1])};
    if (PyErr_Occurred()) {
        return NULL;
    }
    e.duration_ns = e.duration_ns < 0 ? 0 : e.duration_ns;
    return send_event(&e);
}

PyObject *pc_events_open(PyObject *module, PyObject *credit) {
    (void)module;
    unsigned long n = PyLong_AsUnsignedLong(credit);
    if (PyErr_Occurred()) {
        return NULL;
    }
    pc_records_open(PC_RECORDS_EVENTS, n);
    return Py_NewRef(Py_None);
}
