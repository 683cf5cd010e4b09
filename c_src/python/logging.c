/* See logging.h. */

#include "logging.h"

#include <stdlib.h>

#include "guard.h"
#include "records.h"
#include "wire/kinds.h"

enum { TEXTS = 5 };

/* Lone surrogates have no form in UTF-8: they become their escapes. */
static int write_text(struct pc_writer *w, PyObject *text) {
    Py_ssize_t n;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
    if (utf8 != NULL) {
        pc_write_str(w, utf8, (size_t)n);
        return 0;
    }
    PyErr_Clear();
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (bytes == NULL) {
        return -1;
    }
    pc_write_str(w, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return 0;
}

PyObject *pc_logging_log(PyObject *module, PyObject *args) {
    (void)module;
    int level;
    PyObject *texts[TEXTS], *result = NULL;
    long long line, time_us;
    if (!PyArg_ParseTuple(args, "iUUUUULL:log", &level, &texts[0], &texts[1], &texts[2], &texts[3], &texts[4], &line,
                          &time_us)) {
        return NULL;
    }
    if (pc_guard_forked()) {
        return Py_NewRef(Py_False);
    }
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, PC_RECORDS_BATCH, pc_grow_malloc, NULL);
    size_t mark = pc_write_frame_begin(&w);
    pc_write_array(&w, 5 + TEXTS);
    pc_write_int(&w, PC_KIND_LOG);
    pc_write_uint(&w, 0);
    pc_write_int(&w, level);
    for (int i = 0; i < TEXTS; i++) {
        if (write_text(&w, texts[i]) < 0) {
            goto done;
        }
    }
    pc_write_int(&w, line);
    pc_write_int(&w, time_us);
    pc_write_frame_end(&w, mark);
    /* One that is too large, or that there is no memory for, counts as dropped. */
    result = PyBool_FromLong(pc_records_put(PC_RECORDS_LOGS, w.data, w.status == PC_OK ? w.len : SIZE_MAX) !=
                             PC_RECORDS_CLOSED);
done:
    free(w.data);
    return result;
}
