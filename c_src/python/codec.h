#ifndef PC_PYTHON_CODEC_H
#define PC_PYTHON_CODEC_H

/*
 * The functions of the codec: encode and decode, as calls do it, and packb and unpackb, for data of others, whose options are
 * documented in python/pitcrew/codec.py.
 */

#include "encode.h"

/* A value as bytes; `root` as pc_encode_with. */
PyObject *pc_codec_pack(PyObject *value, const struct pc_encode_opts *opts, size_t max_size, const char *root);

PyObject *pc_codec_encode(PyObject *module, PyObject *value);
PyObject *pc_codec_decode(PyObject *module, PyObject *data);
PyObject *pc_codec_packb(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *pc_codec_unpackb(PyObject *module, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);

#endif
