/* No library is imported here to recognize a table: one exists only where somebody else has imported its library. */

#include "arrow.h"

#include "lazy.h"
#include "lent.h"

enum { OTHER_TYPE = 1 };

static int write_stream(struct pc_encoder *e, PyObject *stream) {
    Py_buffer view;
    if (stream == NULL || PyObject_GetBuffer(stream, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    if (!pc_lent_write(e, PC_SEGMENT_ARROW, view.buf, (size_t)view.len)) {
        pc_write_ext(e->w, PC_EXT_ARROW, view.buf, (size_t)view.len);
    }
    PyBuffer_Release(&view);
    return 0;
}

/* Whether to take the buffer of the value (1) or have the value dumped (2). */
static int form_of(PyObject *value) {
    static const enum pc_lazy dumped[] = {PC_LAZY_ARROW_TABLE, PC_LAZY_ARROW_BATCH, PC_LAZY_PANDAS_FRAME,
                                          PC_LAZY_POLARS_FRAME};
    int is = pc_lazy_is(value, PC_LAZY_ARROW);
    if (is != 0) {
        return is;
    }
    for (size_t i = 0; is == 0 && i < sizeof dumped / sizeof *dumped; i++) {
        is = pc_lazy_is(value, dumped[i]);
    }
    return is > 0 ? 2 : is;
}

int pc_arrow_write(struct pc_encoder *e, PyObject *value) {
    int form = form_of(value);
    if (form <= 0) {
        return form < 0 ? -1 : OTHER_TYPE;
    }
    PyObject *stream = NULL;
    if (form == 1) {
        stream = PyObject_GetAttrString(value, "_buffer");
    } else {
        PyObject *dump = pc_lazy_get(PC_LAZY_DUMP_ARROW);
        stream = dump == NULL ? NULL : PyObject_CallOneArg(dump, value);
    }
    int result = write_stream(e, stream);
    Py_XDECREF(stream);
    return result;
}

PyObject *pc_arrow_read(const uint8_t *payload, uint32_t n) {
    PyObject *class = pc_lazy_get(PC_LAZY_ARROW);
    return class == NULL ? NULL : PyObject_CallFunction(class, "y#", (const char *)payload, (Py_ssize_t)n);
}
