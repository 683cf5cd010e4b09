#ifndef PC_PYTHON_RESPOND_H
#define PC_PYTHON_RESPOND_H

/*
 * The end of a call: exactly one frame, before the next call begins. It is sent, or held (hold.h) while another frame
 * lies in the inbox and the tools are quick.
 */

#include "core.h"
#include "fault.h"
#include "outflow.h"

/* What the serve loop does next. PC_RAISED: an exception is set, and the loop ends with it. */
enum pc_next { PC_GO_ON, PC_SHUTDOWN, PC_END_OF_FILE, PC_RAISED };

struct pc_responder {
    int fd;
    size_t max_frame;
    unsigned max_depth;
    struct pc_inbox in;
    struct pc_outbox out;
    int64_t held_ns; /* how long tools have run since the oldest answer that is held, its own included */
    /* Where many calls run at once, nothing is held: answers go out through this, or NULL. With `may_wait`, not before they are sent. */
    struct pc_outflow *flow;
    bool may_wait;
};

/* Where tools take longer, a system call for each answer is cheap, and their callers are waiting. */
enum { PC_QUICK_NS = 100 * 1000 };

/* The frame that is in the outbox is held, and not there any more; false if it cannot be. */
bool pc_respond_hold(struct pc_responder *r);
/* The same where many calls run at once: it goes out, or waits its turn. */
enum pc_next pc_respond_pour(struct pc_responder *r);

/*
 * Tries to send what is in the outbox, in whole frames behind others that have been begun: where a call waits around the one that is answered, threads of
 * its tool call functions meanwhile.
 */
enum pc_io pc_respond_try(struct pc_responder *r);

/* -1 in a process that a tool forked, which has come back to us instead of ending. */
int pc_respond_forked(void);

/* Sends what is held. Before the loop waits for a frame. */
enum pc_next pc_respond_flush(struct pc_responder *r);

/* What the tool returned. */
enum pc_next pc_respond_value(struct pc_responder *r, const struct pc_question *to, int64_t python_ns, PyObject *value);

/* What an exception that is set, and that a tool raised, is called. */
const char *pc_respond_kind(void);

/* The pc_Refused that is set. */
enum pc_next pc_respond_refused(struct pc_responder *r, const struct pc_question *to, int64_t python_ns);

/* The exception that is set, which the tool raised. */
enum pc_next pc_respond_raised(struct pc_responder *r, const struct pc_question *to, int64_t python_ns);

/* The exception that is set, with this word for its kind. */
enum pc_next pc_respond_exception(struct pc_responder *r, const char *kind, const struct pc_question *to,
                                  int64_t python_ns);

/* Releases the fault. */
enum pc_next pc_respond_fault(struct pc_responder *r, struct pc_fault *f, const struct pc_question *to,
                              int64_t python_ns);

#endif
