/*
 * The value of a batch's answer: an array with a pair for each call, ["ok", value] or ["error", map]. A value that cannot be written is taken
 * out of the frame again, with what it has in segments and in references, and the error stands in its place.
 */

#include "batch_answer.h"
#include "batch.h"
#include "encode.h"
#include "fault.h"
#include "json.h"
#include "lazy.h"
#include "limits.h"
#include "respond.h"
#include "wire/json_frame.h"

enum { PAIR = 2, LEVELS = 2 }; /* containers around each value */

struct writing {
    struct pc_answer *a;
    unsigned max_depth;
    struct pc_encode_opts opts;
};

/* So far an answer has been written. */
struct mark {
    size_t len;
    uint32_t lent;
    Py_ssize_t refs;
};

static Py_ssize_t refs_of(const struct pc_answer *a) {
    return a->refs.objects == NULL ? 0 : PyList_GET_SIZE(a->refs.objects);
}

static struct mark here(const struct pc_answer *a) {
    return (struct mark){.len = a->out->w.len, .lent = a->lent.count, .refs = refs_of(a)};
}

/* An exception may be set, and stays. */
static void go_back(struct pc_answer *a, const struct mark *to) {
    PyObject *exception = pc_exception_take();
    a->out->w.len = to->len;
    a->out->w.status = PC_OK;
    pc_lent_undo(&a->lent, to->lent);
    if (to->refs == 0) {
        Py_CLEAR(a->refs.objects);
    } else {
        (void)PyList_SetSlice(a->refs.objects, to->refs, PyList_GET_SIZE(a->refs.objects), NULL);
        PyErr_Clear();
    }
    pc_exception_restore(exception);
}

static void begin_pair(struct pc_answer *a, const char *word) {
    struct pc_writer *w = &a->out->w;
    if (a->json) {
        pc_json_put(w, "[\"");
        pc_json_put(w, word);
        pc_json_put(w, "\",");
    } else {
        pc_write_array(w, PAIR);
        pc_write_str(w, word, strlen(word));
    }
}

static int write_value(struct writing *to, PyObject *value) {
    struct pc_writer *w = &to->a->out->w;
    begin_pair(to->a, "ok");
    return to->a->json ? pc_json_encode(w, value, "]", to->max_depth, "result")
                       : pc_encode_with(w, value, &to->opts, "result");
}

/* Releases the fault. */
static int write_fault(struct pc_answer *a, struct pc_fault *f) {
    struct pc_writer *w = &a->out->w;
    begin_pair(a, "error");
    pc_fault_write_map(f, a);
    if (a->json) {
        pc_json_put(w, "]");
    }
    pc_fault_release(f);
    return w->status == PC_OK ? 0 : pc_encode_too_big(w);
}

/* The exception that is set, as the error of that kind; NULL: of the kind that it tells itself. */
static int write_exception(struct pc_answer *a, const char *kind) {
    struct pc_fault f;
    pc_limits_relax();
    if (PyErr_ExceptionMatches(pc_Refused)) {
        pc_fault_take_refusal(&f);
    } else {
        pc_fault_take(&f, kind != NULL ? kind : pc_respond_kind());
    }
    int result = write_fault(a, &f);
    pc_limits_restore();
    return result;
}

static int write_done(struct writing *to, PyObject *value) {
    struct mark mark = here(to->a);
    if (write_value(to, value) == 0) {
        return 0;
    }
    const char *kind = to->a->out->w.status == PC_TOO_BIG ? "too_big" : "result_error";
    if (pc_respond_forked() < 0) {
        return -1;
    }
    go_back(to->a, &mark);
    return write_exception(to->a, kind);
}

static int write_item(struct writing *to, const struct pc_batch_item *item) {
    if (item->state == PC_BATCH_DONE) {
        return write_done(to, item->what);
    }
    pc_exception_restore(Py_NewRef(item->what));
    const char *refusal = PyErr_ExceptionMatches(PyExc_TypeError) ? "bad_arguments" : "decode_error";
    return write_exception(to->a, item->state == PC_BATCH_REFUSED ? refusal : NULL);
}

int pc_batch_write(struct pc_answer *a, PyObject *batch, unsigned max_depth) {
    struct pc_batch *b = (struct pc_batch *)batch;
    struct pc_writer *w = &a->out->w;
    struct writing to = {.a = a, .max_depth = max_depth > LEVELS ? max_depth - LEVELS : 0};
    to.opts = (struct pc_encode_opts){.max_depth = to.max_depth, .refs = &a->refs, .lent = &a->lent};
    if (a->json) {
        pc_json_put(w, "[");
    } else {
        pc_write_array(w, b->count);
    }
    for (size_t i = 0; i < b->count; i++) {
        if (a->json && i > 0) {
            pc_json_put(w, ",");
        }
        if (write_item(&to, &b->items[i]) < 0) {
            return -1;
        }
    }
    if (a->json) {
        pc_json_put(w, "]]"); /* the frame's own end, too */
    }
    return w->status == PC_OK ? 0 : pc_encode_too_big(w);
}

int pc_batch_refer(PyObject *batch) {
    struct pc_batch *b = (struct pc_batch *)batch;
    for (size_t i = 0; i < b->count; i++) {
        struct pc_batch_item *item = &b->items[i];
        int is_ref = item->state == PC_BATCH_DONE ? pc_lazy_is(item->what, PC_LAZY_REF) : 1;
        if (is_ref > 0) {
            continue;
        }
        PyObject *make = is_ref < 0 ? NULL : pc_lazy_get(PC_LAZY_REF);
        PyObject *ref = make == NULL ? NULL : PyObject_CallOneArg(make, item->what);
        if (ref == NULL) {
            return -1;
        }
        Py_SETREF(item->what, ref);
    }
    return 0;
}
