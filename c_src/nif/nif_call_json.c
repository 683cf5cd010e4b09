/* A call in JSON: its texts are put together in the channel. sending.c does the rest. */
#include "nif/call_body.h"
#include "nif/nif.h"
#include "nif/sending.h"
#include "wire/call_head.h"

struct texts {
    struct pc_sending sending;
    struct pc_call_texts texts;
};

static enum pc_status join(ErlNifEnv *env, struct pc_sending *sending, struct pc_budget *budget,
                           struct pc_term_error *err) {
    struct pc_writer *w = &sending->c->out.w;
    pc_call_head_write(w, true, PC_CALL_FIELDS, sending->c->call_id + 1);
    enum pc_status status = pc_call_texts_write(w, &((const struct texts *)sending)->texts, budget);
    return status == PC_OK && w->status != PC_OK ? pc_term_refuse(env, err, w->status) : status;
}

static ERL_NIF_TERM call_json_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM call_json(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    struct texts t = {.sending = {.json = true, .write = join}};
    ERL_NIF_TERM answer;
    if (!pc_sending_read(env, argv[0], argv[1], argv[5], argv[6], &t.sending) ||
        !pc_call_texts_read(env, argv + 2, &t.texts) || !pc_call_deadline_read(env, argv[7], &t.texts.deadline_ns)) {
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
