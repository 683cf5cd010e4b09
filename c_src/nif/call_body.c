/* See call_body.h. Knows neither channels nor who will send it. */
#include "nif/call_body.h"

#include <inttypes.h>
#include <stdio.h>

#include "nif/atoms.h"
#include "nif/nif.h"
#include "wire/clock.h"
#include "wire/json_frame.h"

bool pc_call_deadline_read(ErlNifEnv *env, ERL_NIF_TERM term, int64_t *deadline_ns) {
    enum { NS_PER_MS = 1000 * 1000 };
    const int64_t most = INT64_MAX / NS_PER_MS / 2;
    ErlNifSInt64 at_ms;
    *deadline_ns = PC_NO_DEADLINE;
    if (!enif_get_int64(env, term, &at_ms)) {
        return enif_is_identical(term, am_infinity);
    }
    if (at_ms < -most || at_ms > most) { /* not a moment of these centuries */
        return false;
    }
    /* The VM corrects its clock, and counts from elsewhere. */
    *deadline_ns = pc_clock_ns() + (at_ms * NS_PER_MS - enif_monotonic_time(ERL_NIF_NSEC));
    return true;
}

bool pc_call_terms_read(ErlNifEnv *env, const ERL_NIF_TERM terms[5], struct pc_call_terms *call) {
    call->args = terms[1];
    call->kwargs = terms[2];
    call->meta = terms[3];
    return enif_inspect_binary(env, terms[0], &call->tool) && enif_is_list(env, call->args) &&
           (enif_is_map(env, call->kwargs) || enif_is_identical(call->kwargs, am_nil)) &&
           (enif_is_map(env, call->meta) || enif_is_identical(call->meta, am_nil)) &&
           pc_term_opts_read(env, terms[4], &call->opts);
}

static enum pc_status write_part(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM part, ERL_NIF_TERM name,
                                 struct pc_term_opts opts, struct pc_budget *budget, struct pc_term_error *err) {
    if (enif_is_identical(part, am_nil)) {
        opts.nil = am_nil; /* our own nil, whatever stands for it in the user's terms */
    }
    enum pc_status status = pc_term_encode(env, w, part, &opts, budget, err);
    if (status != PC_OK && status != PC_BUDGET) {
        err->path = enif_make_list_cell(env, name, err->path);
    }
    return status;
}

static void write_deadline(struct pc_writer *w, int64_t deadline_ns) {
    if (deadline_ns == PC_NO_DEADLINE) {
        pc_write_nil(w);
    } else {
        pc_write_int(w, deadline_ns);
    }
}

enum pc_status pc_call_body_write(ErlNifEnv *env, struct pc_writer *w, const struct pc_call_terms *call,
                                  struct pc_cuts *cuts, struct pc_outgo *outgo, struct pc_budget *budget,
                                  struct pc_term_error *err) {
    struct pc_term_opts opts = call->opts;
    opts.cuts = cuts;
    opts.outgo = outgo;
    opts.calls = true;
    pc_write_str(w, call->tool.data, call->tool.size);
    enum pc_status status = write_part(env, w, call->args, am_args, opts, budget, err);
    if (status == PC_OK) {
        status = write_part(env, w, call->kwargs, am_kwargs, opts, budget, err);
    }
    if (status == PC_OK) {
        status = write_part(env, w, call->meta, am_meta, opts, budget, err);
    }
    write_deadline(w, call->deadline_ns);
    return status;
}

bool pc_call_texts_read(ErlNifEnv *env, const ERL_NIF_TERM terms[3], struct pc_call_texts *call) {
    return enif_inspect_binary(env, terms[0], &call->tool) && enif_inspect_binary(env, terms[1], &call->args) &&
           enif_inspect_binary(env, terms[2], &call->named);
}

/* What stands behind meta. */
static void put_deadline(struct pc_writer *w, int64_t deadline_ns) {
    char text[32];
    if (deadline_ns == PC_NO_DEADLINE) {
        pc_json_put(w, "]");
        return;
    }
    (void)snprintf(text, sizeof text, ",%" PRId64 "]", deadline_ns);
    pc_json_put(w, text);
}

enum pc_status pc_call_texts_write(struct pc_writer *w, const struct pc_call_texts *call, struct pc_budget *budget) {
    size_t size = call->tool.size + call->args.size + call->named.size;
    if (budget != NULL && size > PC_INLINE_BYTES) {
        return PC_BUDGET;
    }
    pc_writer_append(w, call->tool.data, call->tool.size);
    pc_json_put(w, ",");
    pc_writer_append(w, call->args.data, call->args.size);
    pc_json_put(w, ",");
    pc_writer_append(w, call->named.data, call->named.size);
    put_deadline(w, call->deadline_ns);
    if (budget != NULL) {
        budget->units -= (int64_t)(size / PC_COPIED_PER_UNIT);
    }
    return PC_OK;
}
