#ifndef PC_PYTHON_ENCODER_H
#define PC_PYTHON_ENCODER_H

/* What the parts of the encoder share. An EncodeError is raised with its reason alone; paths are pushed on the way out. */

#include "codec/ext.h"
#include "encode.h"
#include "path.h"

struct pc_encoder {
    struct pc_writer *w;
    const struct pc_encode_opts *opts;
    unsigned depth_left;
    struct pc_lent *lent; /* as in the options, but NULL inside of a key or an element */
    struct pc_path path;
};

int pc_encode_value(struct pc_encoder *e, PyObject *value);

/* An EncodeError with that reason; -1. */
int pc_encode_fail(const char *reason);

/* For a writer that is PC_TOO_BIG; -1. */
int pc_encode_too_big(const struct pc_writer *w);

/* One container deeper, and back. */
int pc_encode_too_deep(void);
static inline int pc_encode_enter(struct pc_encoder *e) {
    if (e->depth_left == 0) {
        return pc_encode_too_deep();
    }
    e->depth_left--;
    return 0;
}
static inline void pc_encode_leave(struct pc_encoder *e) { e->depth_left++; }

/* After the writer has failed there is no point in walking on. */
int pc_encode_writer_failed(const struct pc_encoder *e);
static inline int pc_encode_check(const struct pc_encoder *e) {
    return __builtin_expect(e->w->status == PC_OK, 1) ? 0 : pc_encode_writer_failed(e);
}

/*
 * encode_keys.c: what is wrong with a key or an element, `what` it is. The path of the error leads to the map or the set; which
 * one it is stands in the reason. -1.
 */
int pc_encode_key_error(struct pc_encoder *e, PyObject *key, const char *what);

/* What is (part of) a key or an element stands in the frame, all of it. */
static inline int pc_encode_as_key(struct pc_encoder *e, PyObject *key) {
    struct pc_lent *lent = e->lent;
    e->lent = NULL;
    int result = pc_encode_value(e, key);
    e->lent = lent;
    return result;
}

/* dict and subclasses; pitcrew.Map. */
int pc_encode_dict(struct pc_encoder *e, PyObject *dict);
int pc_encode_map(struct pc_encoder *e, PyObject *map);

/* list, tuple (as array) and their subclasses; a tuple as an extension. */
int pc_encode_list(struct pc_encoder *e, PyObject *list);
int pc_encode_tuple(struct pc_encoder *e, PyObject *tuple);

/* What is neither a scalar (scalars.h), nor exactly a dict or a list. */
int pc_encode_rest(struct pc_encoder *e, PyObject *value);

/*
 * For what lies between a container and the one inside of it, so that each costs one frame of the stack: at more levels than a
 * processor predicts returns for, each frame is a misprediction.
 */
#define PC_ONE_FRAME static inline __attribute__((always_inline))

/* What pc_encode_scalar does not write; owns the value meanwhile. */
PC_ONE_FRAME int pc_encode_owned(struct pc_encoder *e, PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    Py_INCREF(value);
    int result = type == &PyDict_Type   ? pc_encode_dict(e, value)
                 : type == &PyList_Type ? pc_encode_list(e, value)
                                        : pc_encode_rest(e, value);
    Py_DECREF(value);
    return result;
}

/* encode_other.c: whatever is not exactly one of the common types. */
int pc_encode_other(struct pc_encoder *e, PyObject *value);

#endif
