/*
 * A call in JSON: texts that pitcrew_json_nif has made are put together in the channel; nothing here knows what they hold.
 * sending.c does the rest.
 */
#include "nif/atoms.h"
#include "nif/nif.h"
#include "nif/sending.h"
#include "wire/json_frame.h"
#include "wire/kinds.h"

struct texts {
    struct pc_sending sending;
    ErlNifBinary tool, args, kwargs;
};

static enum pc_status join(ErlNifEnv *env, const struct pc_sending *sending, struct pc_budget *budget,
                           struct pc_term_error *err) {
    (void)env, (void)err;
    const struct texts *t = (const struct texts *)sending;
    struct pc_writer *w = &sending->c->out.w;
    size_t size = t->tool.size + t->args.size + t->kwargs.size;
    if (budget != NULL && size > PC_INLINE_BYTES) {
        return PC_BUDGET;
    }
    pc_json_head_write(w, PC_KIND_CALL, sending->c->call_id + 1);
    pc_writer_append(w, t->tool.data, t->tool.size);
    pc_json_put(w, ",");
    pc_writer_append(w, t->args.data, t->args.size);
    pc_json_put(w, ",");
    pc_writer_append(w, t->kwargs.data, t->kwargs.size);
    pc_json_put(w, ",null]");
    if (budget != NULL) {
        budget->units -= (int64_t)(size / PC_COPIED_PER_UNIT);
    }
    return PC_OK;
}

static ERL_NIF_TERM call_json_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM call_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    struct texts t = {.sending = {.json = true, .write = join}};
    ERL_NIF_TERM answer;
    if (!pc_sending_read(env, argv[0], argv[1], argv[5], argv[6], &t.sending) ||
        !enif_inspect_binary(env, argv[2], &t.tool) || !enif_inspect_binary(env, argv[3], &t.args) ||
        !enif_inspect_binary(env, argv[4], &t.kwargs)) {
        return enif_make_badarg(env);
    }
    if (pc_sending_run(env, &t.sending, budget, &answer)) {
        return answer;
    }
    return enif_schedule_nif(env, "call_json", ERL_NIF_DIRTY_JOB_CPU_BOUND, call_json_dirty, argc, argv);
}

static ERL_NIF_TERM call_json_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return call_json(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_call_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return pc_budget_run(env, argc, argv, call_json);
}
