#ifndef PC_PYTHON_SERVING_H
#define PC_PYTHON_SERVING_H

/* What the serve loop (serve.c) and its twin for many calls at once (crowd.c) share: frames, and calls that are refused. */

#include "core.h"
#include "request.h"
#include "respond.h"
#include "wire/spin.h"

struct pc_stream;

struct pc_server {
    struct pc_tools tools;
    struct pc_spin spin;
    struct pc_responder to;
    /* A call that has been read, into the request that pc_server_frame was given; `read` is what came of that. */
    enum pc_next (*on_call)(struct pc_server *s, struct pc_request *q, int read);
    /* What a session has kept was dropped, although calls of it may run still; or NULL, where none can. */
    void (*on_session_over)(struct pc_server *s, uint64_t id);
    /* What the VM says of a stream that may run; or NULL, where none does while frames are read here. */
    void (*on_stream)(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit);
    /* Where one call runs at a time: its stream, if it is one, and frames that were put aside meanwhile (aside.h). */
    struct pc_stream *stream;
    struct pc_inbox later;
};

/* A whole frame, which is consumed. `q` is written for a call only. */
enum pc_next pc_server_frame(struct pc_server *s, struct pc_request *q, const uint8_t *payload, size_t n);

/* The answer to a call that could not be read, or has no tool. */
enum pc_next pc_server_refuse(struct pc_server *s, struct pc_request *q, int read);

#endif
