/* The one place that knows how the two formats of an answer begin and end. */

#include "answer.h"

#include "batch.h"
#include "batch_answer.h"
#include "encoder.h"
#include "json.h"
#include "wire/json_frame.h"
#include "wire/segment_footer.h"

enum { FIELDS = 4 }; /* of an answer that has nothing behind its value */

void pc_answer_begin(struct pc_answer *a, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                     enum pc_kind kind, int64_t python_ns) {
    struct pc_writer *w = &out->w;
    *a = (struct pc_answer){.out = out,
                            .mark = pc_outbox_begin(out, max_frame),
                            .json = to->json,
                            .lends = kind != PC_KIND_ERROR,
                            .refs = {.call = kind == PC_KIND_REPLY ? to->id : 0},
                            .status = PC_OK};
    if (a->json) {
        pc_json_answer_write(w, kind, to->id, python_ns);
        return;
    }
    pc_write_array(w, FIELDS);
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
    struct pc_encode_opts opts = {
        .max_depth = max_depth, .refs = a->refs.call != 0 ? &a->refs : NULL, .lent = a->lends ? &a->lent : NULL};
    return pc_encode_with(&a->out->w, value, &opts, root);
}

/* How many references there are, always in five bytes, so that the VM finds it from behind. */
static void write_count(struct pc_writer *w, uint32_t n) {
    const uint8_t count[] = {0xce, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    pc_writer_append(w, count, sizeof count);
}

/* Behind the value: what there is in references and in segments. */
static int write_behind(struct pc_answer *a) {
    enum { REFS = 1, FOOTER = PC_SEGMENT_REPLY_COUNT - FIELDS };
    struct pc_writer *w = &a->out->w;
    bool lent = a->lent.count > 0;
    if (a->refs.objects == NULL && !lent) {
        return 0;
    }
    write_count(w, a->refs.objects == NULL ? 0 : (uint32_t)PyList_GET_SIZE(a->refs.objects));
    if (lent) {
        pc_lent_write_footer(&a->lent, w);
    }
    if (w->status == PC_OK && w->len + a->lent.bytes > w->max) {
        w->status = PC_TOO_BIG;
    }
    if (w->status != PC_OK) {
        a->status = w->status;
        return pc_encode_too_big(w);
    }
    uint8_t *head = &w->data[a->mark + PC_FRAME_HEADER]; /* of an array of fewer than 16 elements */
    *head = (uint8_t)(*head + (lent ? FOOTER : REFS));
    return a->refs.objects == NULL ? 0 : pc_refs_keep(&a->refs);
}

int pc_answer_value(struct pc_answer *a, PyObject *value, unsigned max_depth, const char *root) {
    struct pc_writer *w = &a->out->w;
    int result = pc_batch_is(value) ? pc_batch_write(a, value, max_depth)
                 : a->json          ? pc_json_encode(w, value, "]", max_depth, root)
                                    : write_packed(a, value, max_depth, root);
    a->status = w->status; /* PC_OK unless the writer itself was the reason: both have looked at it */
    if (result == 0) {
        result = write_behind(a);
    }
    Py_CLEAR(a->refs.objects);
    if (result < 0) {
        pc_outbox_undo(a->out, a->mark);
    } else if (pc_outbox_end(a->out, a->mark) != PC_OK) {
        (void)PyErr_NoMemory();
        result = -1;
    }
    a->apart = a->lent.bytes;
    if (result < 0) {
        pc_lent_cancel(&a->lent);
    } else {
        pc_lent_commit(&a->lent);
    }
    return result;
}
