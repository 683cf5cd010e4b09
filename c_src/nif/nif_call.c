/* A call in MessagePack: its terms are encoded straight into the channel. sending.c does the rest. */
#include "nif/atoms.h"
#include "nif/nif.h"
#include "nif/sending.h"
#include "wire/kinds.h"

/* From here on a binary is not copied into the channel's buffer. */
enum { PART_BYTES = 32 * 1024 };

struct packed {
    struct pc_sending sending;
    ErlNifBinary tool;
    ERL_NIF_TERM args, kwargs, meta;
    struct pc_term_opts opts;
};

/* One part of the call; where it fails, the path starts with the part's name. */
static enum pc_status encode_part(ErlNifEnv *env, const struct packed *p, ERL_NIF_TERM part, ERL_NIF_TERM name,
                                  struct pc_cuts *cuts, struct pc_budget *budget, struct pc_term_error *err) {
    struct pc_term_opts opts = p->opts;
    opts.cuts = cuts;
    if (enif_is_identical(part, am_nil)) {
        opts.nil = am_nil; /* our own nil, whatever stands for it in the user's terms */
    }
    enum pc_status status = pc_term_encode(env, &p->sending.c->out.w, part, &opts, budget, err);
    if (status != PC_OK && status != PC_BUDGET) {
        err->path = enif_make_list_cell(env, name, err->path);
    }
    return status;
}

/* Large binaries are sent from where they are. */
static enum pc_status add_parts(ErlNifEnv *env, struct pc_channel *c, const struct pc_cuts *cuts,
                                struct pc_term_error *err) {
    for (size_t i = 0; i < cuts->n; i++) {
        if (!pc_channel_add_part(c, cuts->list[i].at, cuts->list[i].binary)) {
            return pc_term_refuse(env, err, PC_NO_MEMORY);
        }
    }
    return PC_OK;
}

static enum pc_status encode(ErlNifEnv *env, const struct pc_sending *sending, struct pc_budget *budget,
                             struct pc_term_error *err) {
    const struct packed *p = (const struct packed *)sending;
    struct pc_writer *w = &sending->c->out.w;
    struct pc_cuts cuts = {.least = PART_BYTES};
    pc_write_array(w, 6);
    pc_write_uint(w, PC_KIND_CALL);
    pc_write_uint(w, sending->c->call_id + 1);
    pc_write_str(w, p->tool.data, p->tool.size);
    enum pc_status status = encode_part(env, p, p->args, am_args, &cuts, budget, err);
    if (status == PC_OK) {
        status = encode_part(env, p, p->kwargs, am_kwargs, &cuts, budget, err);
    }
    if (status == PC_OK) {
        status = encode_part(env, p, p->meta, am_meta, &cuts, budget, err);
    }
    if (status == PC_OK) {
        status = add_parts(env, sending->c, &cuts, err);
    }
    enif_free(cuts.list);
    return status;
}

static bool read_args(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct packed *p) {
    *p = (struct packed){
        .sending = {.json = false, .write = encode}, .args = argv[3], .kwargs = argv[4], .meta = argv[5]};
    return pc_sending_read(env, argv[0], argv[1], argv[7], argv[8], &p->sending) &&
           enif_inspect_binary(env, argv[2], &p->tool) && enif_is_list(env, p->args) &&
           (enif_is_map(env, p->kwargs) || enif_is_identical(p->kwargs, am_nil)) &&
           (enif_is_map(env, p->meta) || enif_is_identical(p->meta, am_nil)) &&
           pc_term_opts_read(env, argv[6], &p->opts);
}

/* With a budget, false when it ran out. */
static bool call(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct pc_budget *budget, ERL_NIF_TERM *answer) {
    struct packed p;
    if (!read_args(env, argv, &p)) {
        *answer = enif_make_badarg(env);
        return true;
    }
    return pc_sending_run(env, &p.sending, budget, answer);
}

static ERL_NIF_TERM call_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    ERL_NIF_TERM answer = am_error;
    (void)call(env, argv, NULL, &answer);
    return answer;
}

ERL_NIF_TERM nif_call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    struct pc_budget budget;
    ERL_NIF_TERM answer = am_error;
    pc_budget_init(&budget, 0);
    bool finished = call(env, argv, &budget, &answer);
    pc_budget_account(env, &budget);
    return finished ? answer : enif_schedule_nif(env, "call", ERL_NIF_DIRTY_JOB_CPU_BOUND, call_dirty, argc, argv);
}
