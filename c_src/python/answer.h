#ifndef PC_PYTHON_ANSWER_H
#define PC_PYTHON_ANSWER_H

/* Frames [kind, id, python_ns, value, …] that answer another frame, in MessagePack or in JSON as that one was. */

#include <stdbool.h>

#include "core.h"
#include "lent.h"
#include "refs.h"
#include "wire/io.h"
#include "wire/kinds.h"

/* What the frame said that is to be answered. */
struct pc_question {
    uint64_t id;
    bool json;
    bool ref; /* the result is to stay here, and a reference to it is sent */
};

struct pc_answer {
    struct pc_outbox *out;
    size_t mark;
    bool json;
    bool lends;              /* what it has may go into segments */
    struct pc_refs_out refs; /* in a reply */
    struct pc_lent lent;     /* in a reply, and in a chunk */
    size_t apart;            /* bytes in segments, once it is complete */
    enum pc_status status;   /* of a frame that failed */
};

/* Everything but the value, which the caller appends to out->w. */
void pc_answer_begin(struct pc_answer *a, struct pc_outbox *out, size_t max_frame, const struct pc_question *to,
                     enum pc_kind kind, int64_t python_ns);

/* Closes the frame; when something has failed nothing is left of it. */
enum pc_status pc_answer_end(struct pc_answer *a);

/* A value that was called `root`, and the end. Fails as pc_encode and pc_json_encode do, and then nothing is left of the frame. */
int pc_answer_value(struct pc_answer *a, PyObject *value, unsigned max_depth, const char *root);

#endif
