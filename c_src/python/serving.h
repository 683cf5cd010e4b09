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
    /* What the VM says of a stream: whether its call runs. */
    bool (*on_stream)(struct pc_server *s, int64_t kind, uint64_t id, int64_t credit);
    struct pc_stream *stream; /* where one call runs at a time: its own, if it is one */
    void (*on_inner)(void);   /* one has come; or NULL */
    struct pc_inbox inner;    /* calls that are to run inside of the one that runs (inner.h) */
    struct pc_inbox later;    /* frames that were put aside (aside.h) */
};

/* A whole frame, which is consumed. `q` is written for a call only. */
enum pc_next pc_server_frame(struct pc_server *s, struct pc_request *q, const uint8_t *payload, size_t n);

/*
 * A whole frame, in MessagePack, while a call runs: 1 if it is about a stream or a function that may run, and then it is heard and consumed. 0: it is
 * something else. -1: no memory. Never raises. Python may run meanwhile, so that others read, too, and all may have ended.
 */
int pc_server_hear(struct pc_server *s, const uint8_t *payload, size_t n);

/* The answer to a call that could not be read, or has no tool. */
enum pc_next pc_server_refuse(struct pc_server *s, struct pc_request *q, int read);

#endif
