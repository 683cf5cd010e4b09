#ifndef PC_NIF_CALL_BODY_H
#define PC_NIF_CALL_BODY_H

/* What stands behind the id in a call's frame: tool, arguments and meta, in MessagePack. */

#include "nif/term.h"

struct pc_call_terms {
    ErlNifBinary tool;
    ERL_NIF_TERM args, kwargs, meta;
    struct pc_term_opts opts;
};

enum { PC_CALL_FIELDS = 6 }; /* of the frame's array, kind and id included */

/* Tool, args, kwargs, meta and codec_opts() as the native functions get them; false if they are not that. */
bool pc_call_terms_read(ErlNifEnv *env, const ERL_NIF_TERM terms[5], struct pc_call_terms *call);

/* Appends them. Where it fails, the path of *err starts with the part's name. Statuses as those of pc_term_encode; `cuts` may be NULL. */
enum pc_status pc_call_body_write(ErlNifEnv *env, struct pc_writer *w, const struct pc_call_terms *call,
                                  struct pc_cuts *cuts, struct pc_budget *budget, struct pc_term_error *err);

#endif
