#ifndef PC_PYTHON_STREAM_H
#define PC_PYTHON_STREAM_H

/*
 * Chunks of one call (docs/protocol.md, section 3, Streams): what an iterator yields goes out as long as the VM has given credit for it.
 * Whoever runs the call says how it waits for more: stream_alone.h where one call runs at a time, crowd_stream.h where many do.
 *
 * Whatever a handler of a signal raises while we wait is kept, and raised in the generator where it stands: pitcrew.Cancelled too.
 */

#include "request.h"
#include "respond.h"

struct pc_stream {
    struct pc_responder *to;
    const struct pc_question *from; /* borrowed */
    int64_t credit;                 /* wire/stream.h */
    bool halted;                    /* the VM wants no more */
    enum pc_next next;              /* other than PC_GO_ON: there is nobody to send anything to */
    int64_t since;                  /* when the tool's code was entered; monotonic ns */
    int64_t python_ns;              /* spent in it */
    int64_t looked;                 /* when frames were looked for last; monotonic ns */
    PyObject *interrupt;            /* owned: to be raised in the generator */
    PyObject *refused;              /* owned: why a chunk could not be sent */
    const char *kind;               /* of that */
    /* Takes what the VM has said; with `wait` not before pc_stream_goes is true, or the call is to be interrupted. Never raises. */
    void (*look)(struct pc_stream *st, bool wait);
    void (*sent)(
        struct pc_stream *st); /* what the socket does not take waits, if there is something to wait; or NULL */
};

enum pc_source { PC_SOURCE_NONE, PC_SOURCE_ITERATOR, PC_SOURCE_ASYNC };

/* What a tool returned. */
enum pc_source pc_stream_source(PyObject *value);

void pc_stream_init(struct pc_stream *st, struct pc_responder *to, const struct pc_request *q);
void pc_stream_destroy(struct pc_stream *st);

/* Whether there is no reason to wait: there is credit, or nothing more is to be sent. */
static inline bool pc_stream_goes(const struct pc_stream *st) {
    return st->credit > 0 || st->halted || st->next != PC_GO_ON || st->interrupt != NULL;
}
static inline bool pc_stream_is_over(const struct pc_stream *st) { return st->halted || st->next != PC_GO_ON; }

/* What is set as an exception is to be raised in the generator. */
void pc_stream_note(struct pc_stream *st);

/* A frame of the VM's that concerns a stream: true if it is this one. */
bool pc_stream_hear(struct pc_stream *st, int64_t kind, uint64_t id, int64_t credit);

/* Sends what is held. Never raises. */
void pc_stream_flush(struct pc_stream *st);

/* One chunk, for which there is credit: it is sent, or held for the next ones. -1: it could not be, and the exception is `refused` too; or the call was cancelled. */
int pc_stream_put(struct pc_stream *st, PyObject *chunk);

/* Sends what an iterator yields, to its end; closes it if it has to stop before. None, or NULL and an exception. */
PyObject *pc_stream_run(struct pc_stream *st, PyObject *iterator);

/* Whether what was noted is an exception now. */
bool pc_stream_raise(struct pc_stream *st);

/* The end of the call: steals what pc_stream_run returned. */
enum pc_next pc_stream_end(struct pc_stream *st, PyObject *result);

/* Instead, where a tool has returned something that is no stream. */
void pc_stream_refuse(struct pc_stream *st, PyObject *value);

#endif
