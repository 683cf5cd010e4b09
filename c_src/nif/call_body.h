#ifndef PC_NIF_CALL_BODY_H
#define PC_NIF_CALL_BODY_H

/* What stands behind the id in a call's frame: tool, arguments, meta and deadline, in either format. */

#include "nif/term.h"

struct pc_call_terms {
    ErlNifBinary tool;
    ERL_NIF_TERM args, kwargs, meta;
    struct pc_term_opts opts;
    int64_t deadline_ns; /* as pc_call_deadline_read has it, here and below */
};

/*
 * A deadline of pitcrew_deadline, in milliseconds of the VM's monotonic time or `infinity', as a moment of wire/clock.h or
 * PC_NO_DEADLINE; false if it is neither. So time that the frame spends in a queue counts.
 */
bool pc_call_deadline_read(ErlNifEnv *env, ERL_NIF_TERM term, int64_t *deadline_ns);

/* Tool, args, kwargs, meta and codec_opts() as the native functions get them; false if they are not that. */
bool pc_call_terms_read(ErlNifEnv *env, const ERL_NIF_TERM terms[5], struct pc_call_terms *call);

/* Appends them. Where it fails, the path of *err starts with the part's name. Statuses as those of pc_term_encode; `cuts` and `outgo` may be NULL. */
enum pc_status pc_call_body_write(ErlNifEnv *env, struct pc_writer *w, const struct pc_call_terms *call,
                                  struct pc_cuts *cuts, struct pc_outgo *outgo, struct pc_budget *budget,
                                  struct pc_term_error *err);

/* In JSON: texts that pitcrew_json_nif has made; the last is kwargs, a comma and meta. Nothing here knows what they hold. */
struct pc_call_texts {
    ErlNifBinary tool, args, named;
    int64_t deadline_ns;
};

/* The three; false if they are not binaries. */
bool pc_call_texts_read(ErlNifEnv *env, const ERL_NIF_TERM terms[3], struct pc_call_texts *call);

/* Puts them together; PC_BUDGET, and nothing written, when with a budget that is too much work. The writer's own statuses need be looked at. */
enum pc_status pc_call_texts_write(struct pc_writer *w, const struct pc_call_texts *call, struct pc_budget *budget);

#endif
