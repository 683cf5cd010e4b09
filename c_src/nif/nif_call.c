/* A call in MessagePack: its terms are encoded straight into the channel. sending.c does the rest. */
#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/call_body.h"
#include "nif/nif.h"
#include "nif/sending.h"
#include "wire/call_head.h"
#include "wire/segment_footer.h"

/* From here on a binary is not copied into the channel's buffer. */
enum { PART_BYTES = 32 * 1024 };

struct packed {
    struct pc_sending sending;
    struct pc_call_terms terms;
};

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

static enum pc_status encode_within(ErlNifEnv *env, const struct packed *p, struct pc_outgo *outgo,
                                    struct pc_budget *budget, struct pc_term_error *err) {
    struct pc_channel *c = p->sending.c;
    struct pc_cuts cuts = {.least = PART_BYTES};
    pc_call_head_write(&c->out.w, false, PC_CALL_FIELDS, c->call_id + 1);
    enum pc_status status = pc_call_body_write(env, &c->out.w, &p->terms, &cuts, outgo, budget, err);
    if (status == PC_OK) {
        status = add_parts(env, c, &cuts, err);
    }
    enif_free(cuts.list);
    return status;
}

static enum pc_status encode(ErlNifEnv *env, struct pc_sending *sending, struct pc_budget *budget,
                             struct pc_term_error *err) {
    const struct packed *p = (const struct packed *)sending;
    struct pc_channel *c = sending->c;
    struct pc_writer *w = &c->out.w;
    size_t head = w->len;
    struct pc_outgo outgo;
    pc_outgo_init(&outgo, c->buffers);
    enum pc_status status = encode_within(env, p, c->buffers != NULL ? &outgo : NULL, budget, err);
    if (status == PC_OK && outgo.count > 0) {
        pc_segment_footer_write(w, outgo.names, outgo.count);
    }
    if (status == PC_OK && w->status != PC_OK) {
        status = pc_term_refuse(env, err, w->status);
    }
    if (status != PC_OK) {
        pc_outgo_cancel(&outgo, 0);
    } else if (outgo.count > 0) {
        w->data[head] +=
            PC_SEGMENT_CALL_COUNT - PC_CALL_FIELDS; /* an array of less than 16 elements has one byte for its head */
    }
    sending->apart = outgo.bytes;
    return status;
}

static bool read_args(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct packed *p) {
    *p = (struct packed){.sending = {.json = false, .write = encode}};
    bool good = pc_sending_read(env, argv[0], argv[1], argv[7], argv[8], &p->sending) &&
                pc_call_terms_read(env, argv + 2, &p->terms) &&
                pc_call_deadline_read(env, argv[9], &p->terms.deadline_ns);
    p->sending.timed = good && p->terms.opts.timed;
    return good;
}

static ERL_NIF_TERM call_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

static ERL_NIF_TERM call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget) {
    struct packed p;
    ERL_NIF_TERM answer;
    if (!read_args(env, argv, &p)) {
        return enif_make_badarg(env);
    }
    if (pc_sending_run(env, &p.sending, budget, &answer)) {
        return answer;
    }
    return enif_schedule_nif(env, "call", ERL_NIF_DIRTY_JOB_CPU_BOUND, call_dirty, argc, argv);
}

static ERL_NIF_TERM call_dirty(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return call(env, argc, argv, NULL);
}

ERL_NIF_TERM nif_call(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    return pc_budget_run(env, argc, argv, call);
}
