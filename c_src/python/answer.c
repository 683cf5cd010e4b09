/* The one place that knows how the two formats of an answer begin and end. */

#include "answer.h"

#include "encode.h"
#include "json.h"
#include "wire/json_frame.h"

void pc_answer_begin(struct pc_answer *a, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                     enum pc_kind kind, int64_t python_ns) {
    struct pc_writer *w = &out->w;
    *a = (struct pc_answer){.out = out,
                            .mark = pc_outbox_begin(out, max_frame),
                            .json = to->json,
                            .refs = {.call = kind == PC_KIND_REPLY ? to->id : 0},
                            .status = PC_OK};
    if (a->json) {
        pc_json_answer_write(w, kind, to->id, python_ns);
        return;
    }
    pc_write_array(w, 4);
    pc_write_int(w, kind);
    pc_write_uint(w, to->id);
    pc_write_int(w, python_ns);
}

enum pc_status pc_answer_end(struct pc_answer *a) {
    if (a->json) {
        pc_json_put(&a->out->w, "]");
    }
    a->status = pc_outbox_end(a->out, a->mark);
    return a->status;
}

static int write_packed(struct pc_answer *a, PyObject *value, unsigned max_depth, const char *root) {
    struct pc_encode_opts opts = {.max_depth = max_depth, .refs = a->refs.call == 0 ? NULL : &a->refs};
    return pc_encode_with(&a->out->w, value, &opts, root);
}

/* There is one more field when there are references: how many, always in five bytes, so that the VM finds it from behind. */
static int write_refs(struct pc_answer *a) {
    struct pc_writer *w = &a->out->w;
    uint32_t n = (uint32_t)PyList_GET_SIZE(a->refs.objects);
    const uint8_t count[] = {0xce, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    pc_writer_append(w, count, sizeof count);
    if (w->status != PC_OK) {
        a->status = w->status;
        PyErr_Format(pc_EncodeError, "larger than the limit of %zu bytes", w->max);
        return -1;
    }
    w->data[a->mark + PC_FRAME_HEADER]++; /* an array of one element more */
    return pc_refs_keep(&a->refs);
}

int pc_answer_value(struct pc_answer *a, PyObject *value, unsigned max_depth, const char *root) {
    struct pc_writer *w = &a->out->w;
    int result = a->json ? pc_json_encode(w, value, "]", max_depth, root) : write_packed(a, value, max_depth, root);
    a->status = w->status; /* PC_OK unless the writer itself was the reason: both have looked at it */
    if (result == 0 && a->refs.objects != NULL) {
        result = write_refs(a);
    }
    Py_CLEAR(a->refs.objects);
    if (result < 0) {
        pc_outbox_undo(a->out, a->mark);
        return -1;
    }
    if (pc_outbox_end(a->out, a->mark) != PC_OK) {
        (void)PyErr_NoMemory();
        return -1;
    }
    return 0;
}
