/* Text to objects: what Python's parser would let through, or would not bear, is refused first. */

#include "codec/json_scan.h"
#include "json.h"
#include "lazy.h"
#include "path.h"

/* DecodeErrors here have no path, only a place in the text. */
static int check(const char *text, size_t n, unsigned max_depth) {
    size_t at;
    if (!pc_json_depth_within(text, n, max_depth, &at)) {
        PyErr_Format(pc_DecodeError, "nested too deeply (byte %zu)", at);
        return -1;
    }
    if (!pc_json_surrogates_paired(text, n, &at)) {
        PyErr_Format(pc_DecodeError, "half a surrogate pair, which stands for no character (byte %zu)", at);
        return -1;
    }
    return 0;
}

static PyObject *text_of(const char *text, size_t n) {
    PyObject *str = PyUnicode_DecodeUTF8(text, (Py_ssize_t)n, "strict");
    if (str == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_SetString(pc_DecodeError, "text that is not UTF-8");
    }
    return str;
}

static PyObject *parse(const char *text, size_t n) {
    PyObject *read = pc_lazy_get(PC_LAZY_READ_JSON);
    PyObject *str = read == NULL ? NULL : text_of(text, n);
    PyObject *value = str == NULL ? NULL : PyObject_CallOneArg(read, str);
    Py_XDECREF(str);
    return value;
}

PyObject *pc_json_decode(const uint8_t *text, size_t n, unsigned max_depth) {
    PyObject *value = check((const char *)text, n, max_depth) < 0 ? NULL : parse((const char *)text, n);
    if (value == NULL) {
        pc_path_none("frame");
    }
    return value;
}
