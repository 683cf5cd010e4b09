/* See lane_answer.h. */
#include "nif/lane_answer.h"

#include "nif/atoms.h"
#include "nif/frame_memory.h"
#include "nif/nif.h"
#include "nif/parcel.h"
#include "nif/refs.h"
#include "wire/clock.h"

enum { HANDED_OUT = 16 * 1024 }; /* bytes of answers that their callers decode */

bool pc_lane_value_bytes(ErlNifEnv *env, struct pc_inbox *in, const struct pc_frame *f, bool *is_taken,
                         ERL_NIF_TERM *bytes) {
    if (f->n > PC_INLINE_BYTES) {
        ERL_NIF_TERM payload = pc_frame_memory_take(env, in, f);
        if (payload != 0) {
            *is_taken = true;
            *bytes = enif_make_sub_binary(env, payload, (size_t)(f->value - f->payload), f->size);
            return true;
        }
    }
    return pc_term_make_binary(env, f->value, f->size, bytes);
}

/* Owns the lease; `none` for none. */
static ERL_NIF_TERM lease_term(ErlNifEnv *env, struct pc_lease *lease) {
    if (lease == NULL) {
        return am_none;
    }
    ERL_NIF_TERM handle = pc_lease_term(env, lease);
    pc_lease_release(lease);
    return handle;
}

/* What the frame names in shared memory; `none` without memory for it, and then its decoding fails. */
static ERL_NIF_TERM parcel_term(struct pc_job *job, struct pc_channel *c, const struct pc_frame *f) {
    struct pc_parcel *parcel = pc_parcel_new(c->buffers, &f->segments, &job->owner, job->opts.copy_binaries);
    if (parcel == NULL) {
        pc_parcel_refuse(c->buffers, &f->segments);
        return am_none;
    }
    ERL_NIF_TERM handle = pc_parcel_term(job->env, parcel);
    pc_parcel_release(parcel);
    return handle;
}

/* The caller decodes these, and the lease and what is in shared memory go with them. */
static ERL_NIF_TERM make_frame(struct pc_job *job, struct pc_channel *c, const struct pc_frame *f, ERL_NIF_TERM bytes) {
    ErlNifEnv *env = job->env;
    ERL_NIF_TERM kind = pc_frame_kind(f);
    ERL_NIF_TERM python_ns = enif_make_int64(env, f->python_ns);
    ERL_NIF_TERM size = pc_frame_bytes(env, f);
    struct pc_lease *lease = f->has_refs ? pc_lease_new(c, f->id) : NULL;
    if (f->segments.count > 0 && c->buffers != NULL) {
        return enif_make_tuple7(env, am_frame, kind, python_ns, size, bytes, lease_term(env, lease),
                                parcel_term(job, c, f));
    }
    if (lease == NULL) {
        return enif_make_tuple5(env, f->json ? am_json : am_frame, kind, python_ns, size, bytes);
    }
    return enif_make_tuple6(env, am_frame, kind, python_ns, size, bytes, lease_term(env, lease));
}

enum pc_status pc_lane_decode(struct pc_job *job, struct pc_frame *f, struct pc_budget *budget, ERL_NIF_TERM *value) {
    struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(job->env, 0)};
    if (f->json || f->n > HANDED_OUT || f->has_refs || f->segments.count > 0) {
        return PC_BUDGET;
    }
    enum pc_status status = pc_term_decode_within(job->env, &f->r, &job->opts, budget, NULL, value, &err);
    if (status != PC_OK && status != PC_BUDGET) {
        *value = enif_make_tuple2(job->env, am_error, pc_term_error_make(job->env, am_decode_error, &err));
    }
    return status;
}

ERL_NIF_TERM pc_lane_hand_out(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                              bool *is_taken) {
    ERL_NIF_TERM bytes;
    if (!pc_lane_value_bytes(job->env, &c->in, f, is_taken, &bytes)) {
        struct pc_term_error err = {.status = PC_OK, .path = enif_make_list(job->env, 0)};
        (void)pc_term_refuse(job->env, &err, PC_NO_MEMORY);
        pc_channel_drop_frame(c, f);
        return enif_make_tuple2(job->env, am_error, pc_term_error_make(job->env, am_decode_error, &err));
    }
    budget->units -= (int64_t)(f->size / PC_COPIED_PER_UNIT);
    return make_frame(job, c, f, bytes);
}

ERL_NIF_TERM pc_lane_answer(struct pc_job *job, struct pc_channel *c, struct pc_frame *f, struct pc_budget *budget,
                            bool *is_taken) {
    ErlNifEnv *env = job->env;
    ERL_NIF_TERM value;
    bool timed = job->opts.timed;
    int64_t begin = timed ? pc_clock_ns() : 0;
    switch (pc_lane_decode(job, f, budget, &value)) {
    case PC_OK:
        return enif_make_tuple4(env, pc_frame_kind(f), pc_frame_times(env, f, timed, timed ? pc_clock_ns() - begin : 0),
                                pc_frame_bytes(env, f), value);
    case PC_BUDGET:
        return pc_lane_hand_out(job, c, f, budget, is_taken);
    default:
        return value;
    }
}
