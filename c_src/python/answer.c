/* The one place that knows how the two formats of an answer begin and end. */

#include "answer.h"

#include "encode.h"
#include "json.h"
#include "wire/json_frame.h"

void pc_answer_begin(struct pc_answer *a, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                     enum pc_kind kind, int64_t python_ns) {
    struct pc_writer *w = &out->w;
    *a = (struct pc_answer){.out = out, .mark = pc_outbox_begin(out, max_frame), .json = to->json, .status = PC_OK};
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

int pc_answer_value(struct pc_answer *a, PyObject *value, unsigned max_depth, const char *root) {
    struct pc_writer *w = &a->out->w;
    int result = a->json ? pc_json_encode(w, value, "]", max_depth, root) : pc_encode(w, value, max_depth, root);
    a->status = w->status; /* PC_OK unless the writer itself was the reason: both have looked at it */
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
