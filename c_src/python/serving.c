/* See serving.h. A frame that cannot be understood ends the worker; whatever else is wrong is answered. */

#include "serving.h"

#include <stdlib.h>

#include "loans.h"
#include "refs.h"
#include "session.h"
#include "waiter.h"
#include "wire/json_frame.h"
#include "wire/kinds.h"
#include "wire/segment_footer.h"

/* ---- Calls that are refused */

static enum pc_next refuse_request(struct pc_server *s, struct pc_request *q) {
    if (PyErr_ExceptionMatches(pc_Refused)) {
        return pc_respond_refused(&s->to, &q->from, 0);
    }
    const char *kind = PyErr_ExceptionMatches(pc_ProtocolError)  ? "protocol_error"
                       : PyErr_ExceptionMatches(PyExc_TypeError) ? "bad_arguments"
                                                                 : "decode_error";
    return pc_respond_exception(&s->to, kind, &q->from, 0);
}

static enum pc_next refuse_tool(struct pc_server *s, struct pc_request *q) {
    struct pc_fault f;
    pc_fault_say(&f, "unknown_tool", pc_fault_unknown_tool(q->name, s->tools.known));
    return pc_respond_fault(&s->to, &f, &q->from, 0);
}

enum pc_next pc_server_refuse(struct pc_server *s, struct pc_request *q, int read) {
    return read < 0 ? refuse_request(s, q) : refuse_tool(s, q);
}

/* ---- Frames */

struct pc_packed {
    const uint8_t *payload;
    size_t n;
    uint32_t fields;
};

static int forget_refs(struct pc_reader *r) {
    uint32_t n;
    uint64_t call;
    int64_t index;
    if (pc_read_array(r, &n) != PC_OK) {
        return -1;
    }
    for (uint32_t i = 0; i + 1 < n; i += 2) {
        if (pc_read_uint(r, &call) != PC_OK || pc_read_int(r, &index) != PC_OK || pc_refs_drop(call, index) < 0) {
            return -1;
        }
    }
    return 0;
}

static int forget_sessions(struct pc_server *s, struct pc_reader *r) {
    uint32_t n;
    uint64_t id;
    if (pc_read_array(r, &n) != PC_OK) {
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (pc_read_uint(r, &id) != PC_OK || pc_session_drop(id) < 0) {
            return -1;
        }
        if (s->on_session_over != NULL) {
            s->on_session_over(s, id);
        }
    }
    return 0;
}

/* The VM needs objects and sessions no more. It comes behind the calls that may have used them, and is not answered. */
static enum pc_next handle_forget(struct pc_server *s, struct pc_decoder *d) {
    if (forget_refs(&d->r) < 0 || forget_sessions(s, &d->r) < 0) {
        PyErr_Clear(); /* no memory for it, or a frame that is wrong: what it was about stays */
    }
    pc_inbox_consume(&s->to.in);
    return pc_respond_forked() < 0 ? PC_RAISED : PC_GO_ON;
}

static enum pc_next handle_other(struct pc_server *s, int64_t kind, const struct pc_question *from) {
    pc_inbox_consume(&s->to.in);
    if (kind == PC_KIND_SHUTDOWN) {
        return PC_SHUTDOWN;
    }
    if (kind == PC_KIND_ERROR) { /* never answered with an error */
        return PC_GO_ON;
    }
    struct pc_fault f;
    pc_fault_say(
        &f, "unknown_kind",
        PyUnicode_FromFormat("this worker does not know frames of kind %lld on its call channel", (long long)kind));
    return pc_respond_fault(&s->to, &f, from, 0);
}

static int hear_stream(struct pc_server *s, struct pc_decoder *d, int64_t kind, uint64_t id) {
    int64_t credit = 0;
    if (kind == PC_KIND_CREDIT && pc_read_int(&d->r, &credit) != PC_OK) {
        credit = 0;
    }
    if (!s->on_stream(s, kind, id, credit)) {
        return 0;
    }
    pc_inbox_consume(&s->to.in);
    return 1;
}

/* For whoever waits for it. What is decoded is in the inbox no more: Python may run, and whoever has the GIL then may read, or end it all. */
static int hear_answer(struct pc_server *s, struct pc_decoder *d, int64_t kind, uint64_t id) {
    uint8_t *frame;
    if (!pc_inbox_take(&s->to.in, &frame)) {
        return -1;
    }
    pc_waiter_hear(d, kind, id);
    free(frame);
    return 1;
}

/* The reader stands behind the id. As pc_server_hear. */
static int hear(struct pc_server *s, struct pc_decoder *d, int64_t kind, uint64_t id) {
    switch (kind) {
    case PC_KIND_CREDIT:
    case PC_KIND_END:
        return hear_stream(s, d, kind, id);
    case PC_KIND_REPLY:
    case PC_KIND_ERROR:
        return hear_answer(s, d, kind, id);
    default:
        return 0;
    }
}

int pc_server_hear(struct pc_server *s, const uint8_t *payload, size_t n) {
    struct pc_decoder d;
    uint32_t count;
    int64_t kind;
    uint64_t id;
    pc_decoder_init(&d, payload, n, s->to.max_depth);
    int heard = 0;
    if (pc_read_array(&d.r, &count) == PC_OK && count >= 2 && pc_read_int(&d.r, &kind) == PC_OK &&
        pc_read_uint(&d.r, &id) == PC_OK) {
        heard = hear(s, &d, kind, id);
    }
    pc_decoder_destroy(&d);
    return heard;
}

static enum pc_next handle_no_call(struct pc_server *s, struct pc_decoder *d, int64_t kind,
                                   const struct pc_question *from) {
    int heard = hear(s, d, kind, from->id);
    if (heard < 0) {
        (void)PyErr_NoMemory();
        return PC_RAISED;
    }
    if (heard > 0) {
        return PC_GO_ON;
    }
    if (kind == PC_KIND_CREDIT || kind == PC_KIND_END) { /* of a stream that has ended */
        pc_inbox_consume(&s->to.in);
        return PC_GO_ON;
    }
    return handle_other(s, kind, from);
}

static enum pc_next refuse_frame(void) {
    PyErr_SetString(pc_ProtocolError, "a frame is not an array that starts with a kind and an id");
    return PC_RAISED;
}

/* Where it is not read to its end, what it has in segments goes back to the VM. */
static int read_call(struct pc_server *s, struct pc_request *q, struct pc_decoder *d, const struct pc_packed *frame) {
    int read = pc_request_read(q, d, &s->tools);
    if ((read < 0 || q->tool == NULL || q->skipped) && frame->fields == PC_SEGMENT_CALL_COUNT) {
        pc_loans_decline(frame->payload, frame->n);
    }
    return read;
}

static enum pc_next handle_packed(struct pc_server *s, struct pc_request *q, struct pc_decoder *d,
                                  struct pc_packed frame) {
    struct pc_token array, kind, id;
    if (pc_decode_token(d, &array) < 0 || array.type != PC_ARRAY || array.len < 2 || pc_decode_token(d, &kind) < 0 ||
        kind.type != PC_INT || pc_decode_token(d, &id) < 0 ||
        !((id.type == PC_INT && id.i >= 0) || id.type == PC_UINT)) {
        return refuse_frame();
    }
    const struct pc_question from = {.id = id.u, .json = false};
    if (kind.i == PC_KIND_FORGET) {
        return handle_forget(s, d);
    }
    if (kind.i != PC_KIND_CALL && kind.i != PC_KIND_INNER) {
        return handle_no_call(s, d, kind.i, &from);
    }
    pc_request_init(q, &from);
    frame.fields = array.len;
    return s->on_call(s, q, read_call(s, q, d, &frame));
}

static enum pc_next handle_json(struct pc_server *s, struct pc_request *q, const uint8_t *payload, size_t n) {
    struct pc_json_head head;
    if (!pc_json_head_read(payload, n, &head)) {
        return refuse_frame();
    }
    const struct pc_question from = {.id = head.id, .json = true};
    if (head.kind != PC_KIND_CALL && head.kind != PC_KIND_INNER) {
        return handle_other(s, head.kind, &from);
    }
    pc_request_init(q, &from);
    return s->on_call(s, q, pc_request_read_json(q, payload, n, s->to.max_depth, &s->tools));
}

enum pc_next pc_server_frame(struct pc_server *s, struct pc_request *q, const uint8_t *payload, size_t n) {
    if (pc_frame_is_json(payload, n)) {
        return handle_json(s, q, payload, n);
    }
    struct pc_decoder d;
    /* The frame's own array is not one of the containers that the limit counts. */
    pc_decoder_init(&d, payload, n, s->to.max_depth);
    enum pc_next next = handle_packed(s, q, &d, (struct pc_packed){.payload = payload, .n = n});
    pc_decoder_destroy(&d);
    return next;
}
