#ifndef PC_NIF_REQUEST_H
#define PC_NIF_REQUEST_H

/* A call that is to be submitted, as nif_submit.c has read it, and the body of its frame. */

#include "nif/call_body.h"
#include "nif/lane.h"

enum { PC_REQUEST_HEAD = 24 }; /* bytes of a frame in front of its body, at most */

struct pc_request {
    struct pc_dispatcher *dispatcher;
    /* Where the call must go: a tenant's, or to the worker that has an object. */
    struct pc_tenant *tenant;
    struct pc_channel *target;
    void *holds;               /* the resource that says so */
    struct pc_channel *chosen; /* the target, by us, for what is large: a handle to be released; or NULL */
    bool slot;                 /* it waits for a slot, and is encoded when it has one */
    ERL_NIF_TERM ref;
    bool json;
    bool finish;
    ErlNifSInt64 credit; /* of a stream; 0: it is none */
    struct pc_term_opts opts;
    ErlNifUInt64 max_frame;
    struct pc_call_terms terms; /* MessagePack */
    struct pc_call_texts texts; /* JSON */
};

/* Memory of the caller's for a body that fits it. */
struct pc_local {
    uint8_t *data;
    size_t size;
};

/*
 * The body, which is in memory of malloc's unless it fits `local`. What is large goes into segments where the channel is known, or can be: then it is
 * r->chosen, and the target; and is not looked at where it will be known later: then r->slot is set, and the body is empty. Statuses and *err as those of
 * pc_term_encode; where it is not PC_OK there is no body.
 */
enum pc_status pc_request_body(ErlNifEnv *env, struct pc_request *r, struct pc_budget *budget, struct pc_local local,
                               struct pc_body *body, struct pc_term_error *err);

/* It does not go out. */
void pc_request_drop_body(const struct pc_request *r, const struct pc_body *body);

/* What the request has chosen. */
void pc_request_release(const struct pc_request *r);

#endif
