/*
 * The recursive decoder. Memory is allocated in proportion to the input: every value that a container announces is
 * at least one byte, `owed` adds them up over all open containers, and no count is believed that the bytes left
 * cannot pay for.
 *
 * References: a container owns its elements from the moment they are made (list and tuple slots steal them), so that
 * on failure one Py_DECREF of the container frees everything.
 *
 * `frozen` is set inside a map key and in a set, where lists, maps and sets must be hashable.
 */

#include "decode.h"

#include "decoder.h"
#include "types.h"

const struct pc_decode_opts pc_decode_of_calls = {.timestamps = PC_TIMESTAMPS_DATETIME};

enum { AGAIN_MOST = 64 };

void pc_decoder_init(struct pc_decoder *d, const void *data, size_t n, unsigned max_depth) {
    pc_reader_init(&d->r, data, n);
    d->owed = 1;
    d->depth_left = max_depth;
    d->opts = &pc_decode_of_calls;
    d->path.parts = NULL;
    d->call = 0;
    d->loans = NULL;
    d->behind_count = 0;
    d->again_left = AGAIN_MOST * ((uint64_t)n + 1);
}

void pc_decoder_destroy(struct pc_decoder *d) { pc_path_clear(&d->path); }

void pc_decode_fail(enum pc_status status) {
    if (status == PC_NO_MEMORY) {
        (void)PyErr_NoMemory();
    } else {
        PyErr_SetString(pc_DecodeError, pc_status_text(status));
    }
}

/* A value has been read; if it is a container, its elements are owed now. */
static inline enum pc_status settle(struct pc_decoder *d, uint64_t elements) {
    d->owed += elements - 1;
    return d->owed > pc_reader_left(&d->r) ? PC_TRUNCATED : PC_OK;
}

int pc_decode_token(struct pc_decoder *d, struct pc_token *t) {
    enum pc_status status = pc_reader_next(&d->r, t);
    if (status == PC_OK) {
        status = settle(d, t->type == PC_ARRAY ? t->len : t->type == PC_MAP ? 2 * (uint64_t)t->len : 0);
    }
    if (status != PC_OK) {
        pc_decode_fail(status);
        return -1;
    }
    return 0;
}

int pc_decode_enter(struct pc_decoder *d) {
    if (d->depth_left == 0) {
        pc_decode_fail(PC_TOO_DEEP);
        return -1;
    }
    d->depth_left--;
    return 0;
}

/* ---- Arrays */

enum { ROW = 4 }; /* so many numbers may be worth a loop of their own */

/* Whether a number that is not the shortest comes next. */
static inline bool begins_number(const struct pc_decoder *d) {
    return d->r.p < d->r.end && *d->r.p >= 0xcb && *d->r.p <= 0xd3;
}

/* As many numbers as there are in a row, at most n, into the list at i; how many, or -1. The reader stays in registers. */
static int64_t decode_numbers(struct pc_decoder *d, PyObject *list, Py_ssize_t i, uint32_t n) {
    struct pc_reader r = d->r;
    struct pc_token t;
    uint32_t read = 0;
    for (; read < n; read++) {
        const uint8_t *start = r.p;
        if (pc_reader_next(&r, &t) != PC_OK || (t.type != PC_INT && t.type != PC_FLOAT)) {
            r.p = start;
            break;
        }
        PyObject *number = t.type == PC_INT ? PyLong_FromLong((long)t.i) : PyFloat_FromDouble(t.f);
        if (number == NULL) {
            return -1;
        }
        PyList_SET_ITEM(list, i + (Py_ssize_t)read, number);
    }
    d->r.p = r.p;
    d->owed -= read;
    return read;
}

static PyObject *decode_list(struct pc_decoder *d, uint32_t n, bool frozen) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    if (list == NULL || pc_decode_enter(d) < 0) {
        goto fail;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (n - i >= ROW && begins_number(d)) {
            int64_t read = decode_numbers(d, list, (Py_ssize_t)i, n - i);
            if (read < 0) {
                goto fail;
            }
            i += (uint32_t)read;
            if (i == n) {
                break;
            }
        }
        PyObject *item = pc_decode_any(d, frozen);
        if (item == NULL) {
            pc_path_push_index(&d->path, (Py_ssize_t)i);
            goto fail;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    pc_decode_leave(d);
    if (frozen) {
        Py_SETREF(list, PyObject_CallOneArg((PyObject *)&pc_FrozenList_Type, list));
    }
    return list;
fail:
    Py_XDECREF(list);
    return NULL;
}

static PyObject *decode_array(struct pc_decoder *d, uint32_t n, bool frozen) {
    if (!d->opts->as_tuple) {
        return decode_list(d, n, frozen);
    }
    PyObject *list = decode_list(d, n, frozen);
    PyObject *tuple = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

/* ---- Dispatch */

static PyObject *decode_rest(struct pc_decoder *d, const struct pc_token *t, bool frozen) {
    switch (t->type) {
    case PC_STR:
        return pc_decode_str(d, t->data, t->len);
    case PC_INT:
        return PyLong_FromLong((long)t->i); /* as wide as int64_t on every system we know, and faster */
    case PC_MAP:
        return pc_decode_dict(d, t->len, frozen);
    case PC_ARRAY:
        return decode_array(d, t->len, frozen);
    case PC_FLOAT:
        return PyFloat_FromDouble(t->f);
    case PC_NIL:
        return Py_NewRef(Py_None);
    case PC_BOOL:
        return PyBool_FromLong(t->b);
    case PC_BIN:
        return PyBytes_FromStringAndSize((const char *)t->data, (Py_ssize_t)t->len);
    case PC_EXT:
        return pc_decode_ext(d, t, frozen);
    case PC_UINT:
        return PyLong_FromUnsignedLongLong(t->u);
    }
    pc_decode_fail(PC_INVALID);
    return NULL;
}

static PyObject *decode_by_token(struct pc_decoder *d, bool frozen) {
    struct pc_token t;
    return pc_decode_token(d, &t) < 0 ? NULL : decode_rest(d, &t, frozen);
}

/* A container of less than 16 elements. */
static PyObject *decode_short(struct pc_decoder *d, uint8_t head, bool frozen) {
    uint32_t n = head & 0x0f;
    bool is_map = head < 0x90;
    d->r.p++;
    if (settle(d, is_map ? 2 * (uint64_t)n : n) != PC_OK) {
        pc_decode_fail(PC_TRUNCATED);
        return NULL;
    }
    return is_map ? pc_decode_dict(d, n, frozen) : decode_array(d, n, frozen);
}

static inline PyObject *decode_double(struct pc_decoder *d, const uint8_t *p) {
    uint64_t bits = (uint64_t)pc_frame_length(p + 1) << 32 | pc_frame_length(p + 5);
    double number;
    memcpy(&number, &bits, sizeof number);
    d->r.p = p + 9;
    d->owed--;
    return PyFloat_FromDouble(number);
}

static inline PyObject *decode_constant(struct pc_decoder *d, PyObject *constant) {
    d->r.p++;
    d->owed--;
    return Py_NewRef(constant);
}

/*
 * The commonest short forms without a token; a value that is no container owes nothing, so nothing is compared. Every call
 * is the last thing done and no local has an address, so that a container costs one frame of the stack and not three.
 */
PyObject *pc_decode_any(struct pc_decoder *d, bool frozen) {
    const uint8_t *p = d->r.p;
    size_t left = pc_reader_left(&d->r);
    uint8_t head = left > 0 ? *p : 0xc1;
    if ((head & 0xe0) == 0xa0 && left > (head & 0x1fu)) {
        d->r.p = p + 1 + (head & 0x1fu);
        d->owed--;
        return pc_decode_str(d, p + 1, head & 0x1fu);
    }
    if (head < 0x80) {
        return decode_constant(d, pc_text_ints[head]);
    }
    if (head < 0xa0) {
        return decode_short(d, head, frozen);
    }
    if (head == 0xcb && left >= 9) {
        return decode_double(d, p);
    }
    if (head == 0xc0) {
        return decode_constant(d, Py_None);
    }
    if (head == 0xc2 || head == 0xc3) {
        return decode_constant(d, head == 0xc3 ? Py_True : Py_False);
    }
    return decode_by_token(d, frozen);
}

PyObject *pc_decode_value(struct pc_decoder *d) { return pc_decode_any(d, false); }

PyObject *pc_decode_frozen(struct pc_decoder *d) { return pc_decode_any(d, true); }

PyObject *pc_decode_rest(struct pc_decoder *d, const struct pc_token *t) { return decode_rest(d, t, false); }
