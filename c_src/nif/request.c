/* See request.h. Encodes, and finds out for whom; sends nothing. */
#include "nif/request.h"

#include <stdlib.h>
#include <string.h>

#include "nif/buffers.h"
#include "wire/segment_footer.h"

/* From memory of the caller's, which is the writer's owner if there is any, to memory of malloc's. */
static bool grow(struct pc_writer *w, size_t need) {
    if (w->data == NULL || w->data != w->owner) {
        return pc_grow_malloc(w, need);
    }
    uint8_t *data = malloc(need);
    if (data == NULL) {
        return false;
    }
    memcpy(data, w->data, w->len);
    w->data = data;
    w->cap = need;
    return true;
}

/* The body, which is in memory of malloc's unless it fits `local`; what is large is in segments, if there is `outgo`. */
static enum pc_status write_body(ErlNifEnv *env, const struct pc_request *r, struct pc_outgo *outgo,
                                 struct pc_budget *budget, struct pc_local local, struct pc_body *body,
                                 struct pc_term_error *err) {
    struct pc_writer w;
    pc_writer_init(&w, local.data, local.size, (size_t)r->max_frame - PC_REQUEST_HEAD, grow, local.data);
    enum pc_status status = r->json ? pc_call_texts_write(&w, &r->texts, budget)
                                    : pc_call_body_write(env, &w, &r->terms, NULL, outgo, budget, err);
    if (status == PC_OK && outgo != NULL && outgo->count > 0) {
        pc_segment_footer_write(&w, outgo->names, outgo->count);
    }
    if (status == PC_OK && w.status != PC_OK) {
        status = pc_term_refuse(env, err, w.status);
    }
    *body = (struct pc_body){.data = w.data, .n = w.len, .owned = w.data != local.data};
    if (status != PC_OK) {
        if (body->owned) {
            free(w.data);
        }
        if (outgo != NULL) {
            pc_outgo_cancel(outgo, 0);
        }
    } else if (outgo != NULL) {
        body->apart = outgo->bytes;
    }
    return status;
}

/*
 * For something large: the channel that it will be sent to. With slots that is one that is free, for calls that claim none; the others wait until they have
 * one.
 */
static void choose(ErlNifEnv *env, struct pc_request *r) {
    struct pc_dispatcher *dispatcher = r->dispatcher;
    struct pc_channel *c;
    if (r->opts.nested != 0 && dispatcher->d.width == 1) {
        return; /* it may have to go to any worker that comes free, or to one that waits for it */
    }
    if (dispatcher->slots == NULL) {
        c = pc_dispatch_next(&dispatcher->d, pc_lane_actor(env));
    } else if (r->credit == 0 && r->opts.host == 0) {
        r->slot = pc_slots_share(dispatcher->slots);
        return;
    } else {
        c = pc_slots_peek(dispatcher->slots);
    }
    if (c != NULL && (c->buffers == NULL || c->lane == NULL)) {
        enif_release_resource(c);
    } else if (c != NULL) {
        r->target = r->chosen = c;
        r->holds = c;
    }
}

enum pc_status pc_request_body(ErlNifEnv *env, struct pc_request *r, struct pc_budget *budget, struct pc_local local,
                               struct pc_body *body, struct pc_term_error *err) {
    struct pc_outgo outgo;
    bool is_known = r->target != NULL;
    if (r->json || (is_known && r->target->buffers == NULL) || (!is_known && r->tenant != NULL)) {
        return write_body(env, r, NULL, budget, local, body, err);
    }
    pc_outgo_init(&outgo, is_known ? r->target->buffers : NULL);
    enum pc_status status = write_body(env, r, &outgo, budget, local, body, err);
    if (!outgo.wanted) {
        return status;
    }
    choose(env, r);
    if (r->slot) {
        *body = (struct pc_body){.n = 0};
        return PC_OK;
    }
    if (r->target == NULL) {
        return write_body(env, r, NULL, budget, local, body, err);
    }
    pc_outgo_init(&outgo, r->target->buffers);
    return write_body(env, r, &outgo, budget, local, body, err);
}

void pc_request_drop_body(const struct pc_request *r, const struct pc_body *body) {
    if (body->apart > 0 && r->target != NULL) {
        pc_buffers_cancel(r->target->buffers, body->data, body->n);
    }
    if (body->owned) {
        free(body->data);
    }
}

void pc_request_release(const struct pc_request *r) {
    if (r->chosen != NULL) {
        enif_release_resource(r->chosen);
    }
}
