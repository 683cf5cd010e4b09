/*
 * lane_reply/4: what has become of a function that a worker has called, by way of the lane. A frame that is long is copied on a dirty scheduler; it is
 * queued on a normal one, since the dispatcher's lock must not be held by a thread that may have to wait for a processor.
 */
#include <stdlib.h>
#include <string.h>

#include "nif/atoms.h"
#include "nif/frame_memory.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "wire/clock.h"
#include "wire/inner.h"
#include "wire/kinds.h"

enum { MOST_HEAD = 24, ARGS = 4 };

struct answer {
    struct pc_channel *channel;
    ErlNifUInt64 id;
    bool error;
    ErlNifBinary value;
};

static bool read_answer(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct answer *a) {
    a->error = enif_is_identical(argv[1], am_error);
    return pc_channel_get(env, argv[0], &a->channel) && a->channel->lane != NULL &&
           (a->error || enif_is_identical(argv[1], am_reply)) && enif_get_uint64(env, argv[2], &a->id) &&
           enif_inspect_binary(env, argv[3], &a->value);
}

static void write_head(struct pc_writer *w, const struct answer *a) {
    pc_write_array(w, 4);
    pc_write_uint(w, a->error ? PC_KIND_ERROR : PC_KIND_REPLY);
    pc_write_uint(w, a->id);
    pc_write_uint(w, 0);
}

/* Takes the body's memory if that is owned. */
static ERL_NIF_TERM send_answer(ErlNifEnv *env, const struct answer *a, struct pc_body *body) {
    struct pc_lane *lane = a->channel->lane;
    uint8_t bytes[MOST_HEAD];
    struct pc_writer head;
    pc_writer_init(&head, bytes, sizeof bytes, sizeof bytes, NULL, NULL);
    write_head(&head, a);
    enum pc_status status = PC_OK;
    bool pinned = pc_lane_pin(lane, pc_lane_actor(env));
    if (pinned) {
        pc_lane_waited(lane, a->id, pc_clock_ns());
        status = pc_lane_send(lane, head.data, head.len, body);
        pc_channel_flush_lane(env, a->channel, false);
    }
    if (body->owned && (!pinned || status != PC_OK)) {
        free(body->data);
    }
    return !pinned ? am_gone : status == PC_OK ? am_ok : status == PC_TOO_BIG ? am_too_big : am_full;
}

/* Back on a normal scheduler. */
static ERL_NIF_TERM ready(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct answer a;
    struct pc_body body;
    struct pc_channel *of; /* none: nothing of it lies in shared memory */
    if (argc != ARGS + 1 || !read_answer(env, argv, &a) || !pc_frame_memory_body(env, argv[ARGS], &body, &of)) {
        return enif_make_badarg(env);
    }
    return send_answer(env, &a, &body);
}

static ERL_NIF_TERM dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct answer a;
    if (argc != ARGS || !read_answer(env, argv, &a)) {
        return enif_make_badarg(env);
    }
    const struct pc_body body = {.data = malloc(a.value.size), .n = a.value.size};
    if (body.data == NULL) {
        return am_full;
    }
    memcpy(body.data, a.value.data, a.value.size);
    ERL_NIF_TERM next;
    return pc_frame_memory_schedule(env, "lane_reply", ready, ARGS, argv, &body, NULL, &next) ? next : am_full;
}

ERL_NIF_TERM nif_lane_reply(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct answer a;
    if (!read_answer(env, argv, &a)) {
        return enif_make_badarg(env);
    }
    if (a.value.size > PC_INLINE_BYTES) {
        return enif_schedule_nif(env, "lane_reply", ERL_NIF_DIRTY_JOB_CPU_BOUND, dirty, argc, argv);
    }
    struct pc_body body = {.data = a.value.data, .n = a.value.size, .owned = false};
    return send_answer(env, &a, &body);
}
