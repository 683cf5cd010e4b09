/*
 * Terms to MessagePack: a recursive walk straight into the writer. Lists and maps have files of their own.
 *
 * Invariants: containers nest at most max_depth deep; each term costs a unit of the budget before work is done
 * for it; the path is built only while unwinding from a failure. Must not keep a pointer into the writer's memory
 * across a write: it moves.
 */

#include "atoms.h"
#include "codec/ext.h"
#include "term_encoder.h"

void pc_term_go_back(struct encoder *e, const struct progress *to) {
    if (e->w->status != PC_OK) {
        return;
    }
    e->w->len = to->len;
    e->places_used = 0; /* some may have stood behind it */
    if (e->opts->outgo != NULL) {
        pc_outgo_cancel(e->opts->outgo, to->segments);
    }
    if (e->opts->cuts != NULL) {
        e->w->max += e->opts->cuts->bytes - to->elsewhere;
        e->opts->cuts->n = to->cuts;
        e->opts->cuts->bytes = to->elsewhere;
    }
}

enum pc_status pc_term_encode_apart(struct encoder *e, enum pc_segment_kind kind, const ErlNifBinary *bin, bool *done) {
    struct pc_outgo *outgo = e->opts->outgo;
    *done = true;
    if (outgo->buffers == NULL) {
        outgo->wanted = true;
        return PC_BUDGET;
    }
    if (e->w->max - e->w->len < outgo->bytes + bin->size) {
        return too_big(e);
    }
    if (e->budget != NULL && !pc_outgo_ready(outgo, bin->size)) {
        return PC_BUDGET;
    }
    if (!pc_outgo_put(outgo, bin->data, bin->size)) {
        *done = false;
        return PC_OK;
    }
    pc_segment_payload_write(e->w, kind, &outgo->names[outgo->count - 1]);
    return written(e);
}

/* Terms that only this VM understands. What the VM makes of them is of unknown size, but for a few. */
enum pc_status pc_term_encode_opaque(struct encoder *e, ERL_NIF_TERM term, bool is_small) {
    if (e->budget != NULL && !is_small) {
        return PC_BUDGET;
    }
    e->units -= OPAQUE_COST;
    return pc_term_write_opaque(e->env, e->w, term) ? written(e) : no_memory(e);
}

enum pc_status pc_term_encode_called(struct encoder *e, ERL_NIF_TERM term, int8_t type) {
    ErlNifUInt64 number;
    ERL_NIF_TERM found;
    if (e->opts->functions == 0 || !enif_get_map_value(e->env, e->opts->functions, term, &found) ||
        !enif_get_uint64(e->env, found, &number)) {
        (void)pc_term_fail(e->env, e->err, PC_INVALID, "a function or an iterator cannot be sent with this call");
        e->err->is_function = true;
        return PC_INVALID;
    }
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_uint(e->w, number);
    pc_write_ext_end(e->w, mark, type);
    return written(e);
}

/* One that the worker may call; in a key or an element it would not be the same as another one, and is opaque. */
APART static enum pc_status encode_function(struct encoder *e, ERL_NIF_TERM function) {
    if (!e->opts->calls || e->keys > 0) { /* with all that it has closed over */
        return pc_term_encode_opaque(e, function, false);
    }
    return pc_term_encode_called(e, function, PC_EXT_FUNCTION);
}

APART static enum pc_status encode_binary(struct encoder *e, ERL_NIF_TERM term) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(e->env, term, &bin)) {
        return pc_term_encode_opaque(e, term, false);
    }
    return encode_bytes(e, term, &bin, e->opts->binaries);
}

APART static enum pc_status encode_tuple(struct encoder *e, ERL_NIF_TERM tuple) {
    int arity;
    const ERL_NIF_TERM *elements;
    (void)enif_get_tuple(e->env, tuple, &arity, &elements);
    if (e->opts->tuples == PC_TUPLES_ERROR) {
        return unsupported(e, "a tuple (by the option tuples: error)");
    }
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    bool is_ext = e->opts->tuples == PC_TUPLES_EXT;
    size_t mark = is_ext ? pc_write_ext_begin(e->w) : 0;
    size_t elsewhere = bytes_elsewhere(e);
    pc_write_array(e->w, (size_t)arity);
    for (int i = 0; i < arity; i++) {
        status = pc_term_encode_value(e, elements[i]);
        if (status != PC_OK) {
            return unwind(e, status, enif_make_int(e->env, i));
        }
    }
    if (is_ext) {
        pc_write_ext_end_apart(e->w, mark, PC_EXT_TUPLE, bytes_elsewhere(e) - elsewhere);
    }
    e->depth--;
    return written(e);
}

enum pc_status pc_term_encode_typed(struct encoder *e, ERL_NIF_TERM term, ErlNifTermType type) {
    switch (type) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return encode_atom(e, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return encode_integer(e, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return encode_float(e, term);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return encode_binary(e, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return pc_term_encode_list(e, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return pc_term_encode_map(e, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return encode_tuple(e, term);
    case ERL_NIF_TERM_TYPE_PID:
    case ERL_NIF_TERM_TYPE_PORT:
    case ERL_NIF_TERM_TYPE_REFERENCE:
        return pc_term_encode_opaque(e, term, true);
    case ERL_NIF_TERM_TYPE_FUN:
        return encode_function(e, term);
    default:
        return unsupported(e, "a term of an unknown type");
    }
}

enum pc_status pc_term_encode_value(struct encoder *e, ERL_NIF_TERM term) {
    e->units--;
    if (is_time_up(e)) {
        return PC_BUDGET;
    }
    if (pc_is_small(term)) {
        pc_write_int(e->w, pc_small_value(term));
        return written(e);
    }
    if (term == am_true || term == am_false || term == e->opts->nil) {
        return encode_atom(e, term);
    }
    e->units -= TERM_COST;
    return pc_term_encode_typed(e, term, enif_term_type(e->env, term));
}

static void encoder_init(struct encoder *e, ErlNifEnv *env, struct pc_writer *w, const struct pc_term_opts *opts,
                         struct pc_budget *budget, struct pc_term_error *err) {
    e->env = env;
    e->w = w;
    e->opts = opts;
    e->err = err;
    e->budget = budget;
    e->units = budget != NULL ? budget->units : PC_BUDGET_GRANT;
    e->depth = 0;
    e->keys = 0;
    e->max_depth = opts->max_depth != 0 ? opts->max_depth : PC_MAX_DEPTH;
    e->max_size = w->max;
    e->empty_list = enif_make_list_from_array(env, NULL, 0);
    e->stop = NULL;
    e->places_used = 0;
}

enum pc_status pc_term_encode(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term, const struct pc_term_opts *opts,
                              struct pc_budget *budget, struct pc_term_error *err) {
    return pc_term_encode_until(env, w, term, opts, budget, NULL, err);
}

enum pc_status pc_term_encode_until(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term,
                                    const struct pc_term_opts *opts, struct pc_budget *budget,
                                    struct pc_term_stop *stop, struct pc_term_error *err) {
    struct encoder e;
    encoder_init(&e, env, w, opts, budget, err);
    if (stop != NULL) {
        stop->count = 0;
        e.stop = stop;
    }
    enum pc_status status = pc_term_encode_value(&e, term);
    if (budget != NULL) {
        budget->units = e.units;
    }
    return status;
}

enum pc_status pc_term_encode_on(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM list,
                                 const struct pc_term_stop *stop, const struct pc_term_opts *opts,
                                 struct pc_term_error *err) {
    struct encoder e;
    encoder_init(&e, env, w, opts, NULL, err);
    return pc_term_encode_list_on(&e, list, stop);
}
