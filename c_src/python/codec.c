/*
 * The bytes of a small value are made in a buffer of the process's and copied once; those of a large one grow in the
 * bytes object that is returned.
 */

#include "codec.h"

#include "codec/limits.h"
#include "options.h"

/* ---- Writing into bytes */

enum { SCRATCH = 1 << 16 };

static uint8_t scratch[SCRATCH];
static bool scratch_taken; /* by a packb whose `default` has called packb */

struct output {
    struct pc_writer w;
    PyObject *bytes; /* NULL while everything fits the scratch buffer */
    bool scratch;
};

/* What the last large value took: the next one is often as large, and memory that is not written to costs little. */
static size_t last_size;
enum { GUESS_MOST = 1 << 26 };

static size_t first_size(size_t need) {
    size_t guess = last_size < GUESS_MOST ? last_size : GUESS_MOST;
    return guess > need ? guess : need;
}

static bool grow(struct pc_writer *w, size_t need) {
    PyObject **bytes = w->owner;
    if (need > PY_SSIZE_T_MAX) {
        return false;
    }
    if (*bytes == NULL) {
        need = first_size(need);
        *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)need);
        if (*bytes != NULL && w->len > 0) {
            memcpy(PyBytes_AS_STRING(*bytes), w->data, w->len);
        }
    } else {
        (void)_PyBytes_Resize(bytes, (Py_ssize_t)need);
    }
    if (*bytes == NULL) {
        return false;
    }
    w->data = (uint8_t *)PyBytes_AS_STRING(*bytes);
    w->cap = need;
    return true;
}

static void output_init(struct output *o, size_t max_size) {
    o->bytes = NULL;
    o->scratch = !scratch_taken;
    scratch_taken = true;
    pc_writer_init(&o->w, o->scratch ? scratch : NULL, o->scratch ? SCRATCH : 0, max_size, grow, &o->bytes);
}

/* The bytes if `result` is 0, else NULL. */
static PyObject *output_finish(struct output *o, int result) {
    if (o->scratch) {
        scratch_taken = false;
    }
    if (result < 0) {
        Py_XDECREF(o->bytes);
        return NULL;
    }
    if (o->bytes == NULL) {
        return PyBytes_FromStringAndSize((const char *)o->w.data, (Py_ssize_t)o->w.len);
    }
    last_size = o->w.len;
    if ((size_t)PyBytes_GET_SIZE(o->bytes) != o->w.len) {
        (void)_PyBytes_Resize(&o->bytes, (Py_ssize_t)o->w.len);
    }
    return o->bytes;
}

PyObject *pc_codec_pack(PyObject *value, const struct pc_encode_opts *opts, size_t max_size, const char *root) {
    struct output o;
    output_init(&o, max_size);
    return output_finish(&o, pc_encode_with(&o.w, value, opts, root));
}

PyObject *pc_codec_encode(PyObject *module, PyObject *value) {
    (void)module;
    const struct pc_encode_opts opts = {.max_depth = PC_MAX_DEPTH};
    return pc_codec_pack(value, &opts, PC_MAX_FRAME, "value");
}

static int one_argument(const char *function, Py_ssize_t n) {
    if (n != 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes one positional argument (%zd given); options are given by name",
                     function, n);
        return -1;
    }
    return 0;
}

PyObject *pc_codec_packb(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    (void)module;
    struct pc_pack_opts opts;
    if (one_argument("packb", n) < 0 || pc_options_pack(&opts, args + n, kwnames) < 0) {
        return NULL;
    }
    return pc_codec_pack(args[0], &opts.encode, opts.max_size, "value");
}

/* ---- Reading */

static PyObject *unpack(const void *bytes, size_t n, const struct pc_decode_opts *opts, unsigned max_depth) {
    struct pc_decoder d;
    pc_decoder_init(&d, bytes, n, max_depth);
    d.opts = opts;
    PyObject *value = pc_decode_value(&d);
    if (value != NULL && pc_reader_left(&d.r) > 0) {
        PyErr_Format(pc_DecodeError, "%zu bytes follow the value", pc_reader_left(&d.r));
        Py_CLEAR(value);
    }
    if (value == NULL) {
        pc_path_complete(&d.path, "value");
    }
    pc_decoder_destroy(&d);
    return value;
}

static PyObject *too_big(size_t max_size) {
    PyErr_Format(pc_DecodeError, "larger than the limit of %zu bytes", max_size);
    pc_path_none("value");
    return NULL;
}

static PyObject *unpack_object(PyObject *data, const struct pc_decode_opts *opts, unsigned max_depth, size_t max_size) {
    if (PyBytes_CheckExact(data) && (size_t)PyBytes_GET_SIZE(data) <= max_size) {
        return unpack(PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data), opts, max_depth);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *value =
        (size_t)view.len > max_size ? too_big(max_size) : unpack(view.buf, (size_t)view.len, opts, max_depth);
    PyBuffer_Release(&view);
    return value;
}

PyObject *pc_codec_decode(PyObject *module, PyObject *data) {
    (void)module;
    return unpack_object(data, &pc_decode_of_calls, PC_MAX_DEPTH, PY_SSIZE_T_MAX);
}

PyObject *pc_codec_unpackb(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    (void)module;
    struct pc_unpack_opts opts;
    if (one_argument("unpackb", n) < 0 || pc_options_unpack(&opts, args + n, kwnames, "unpackb", PY_SSIZE_T_MAX) < 0) {
        return NULL;
    }
    return unpack_object(args[0], &opts.decode, opts.max_depth, opts.max_size);
}
