/* See gather.h. The consumer may leave at any moment; what was gathered for it is dropped then. */
#include "nif/gather.h"

#include "nif/atoms.h"
#include "nif/lane_answer.h"
#include "nif/send.h"
#include "wire/kinds.h"
#include "wire/stream.h"

void pc_gather_init(struct pc_gather *g, struct pc_channel *c) {
    g->c = c;
    g->to.env = NULL;
    g->n = 0;
}

/* Under the dispatcher's lock: the job may be gone at any other time. */
static void look(const struct pc_call *call, void *context) {
    struct pc_gather *g = context;
    const struct pc_job *job = (const struct pc_job *)call;
    g->to.env = enif_alloc_env();
    g->to.ref = enif_make_copy(g->to.env, job->ref);
    g->to.owner = job->owner;
    g->to.opts = job->opts;
}

static enum pc_chunk begin(struct pc_gather *g, uint64_t id) {
    g->id = id;
    g->n = 0;
    g->cost = g->last = 0;
    g->bytes = 0;
    return pc_lane_chunk(g->c->lane, id, look, g);
}

static void count(struct pc_gather *g, const struct pc_frame *f) {
    g->last = pc_chunk_cost(f->n + f->apart);
    g->cost += g->last;
    g->bytes += f->n + f->apart + PC_FRAME_HEADER;
}

static bool send_message(ErlNifEnv *env, struct pc_gather *g, ERL_NIF_TERM tag, ERL_NIF_TERM what) {
    ErlNifEnv *message = g->to.env;
    enum pc_chunk state = pc_lane_charge(g->c->lane, g->id, g->cost, g->last);
    g->to.env = NULL;
    if (state != PC_CHUNK_WANTED) {
        enif_free_env(message);
        return state == PC_CHUNK_LEFT;
    }
    pc_send(env, &g->to.owner, message,
            enif_make_tuple5(message, tag, g->to.ref, enif_make_int64(message, g->cost),
                             enif_make_uint64(message, g->bytes), what));
    return true;
}

bool pc_gather_send(ErlNifEnv *env, struct pc_gather *g) {
    if (g->to.env == NULL) {
        return true;
    }
    return send_message(env, g, am_pitcrew_chunks, enif_make_list_from_array(g->to.env, g->terms, g->n));
}

/* A chunk with a message of its own, before which all others have gone out. */
static bool add_alone(ErlNifEnv *env, struct pc_gather *g, struct pc_frame *f, struct pc_budget *budget, bool *is_taken,
                      enum pc_status status, ERL_NIF_TERM value) {
    count(g, f);
    if (status == PC_BUDGET) {
        value = pc_lane_hand_out(&g->to, g->c, f, budget, is_taken);
    }
    return send_message(env, g, am_pitcrew_chunk, value);
}

bool pc_gather_add(ErlNifEnv *env, struct pc_gather *g, struct pc_frame *f, struct pc_budget *budget, bool *is_taken) {
    const struct pc_reader start = f->r;
    if (f->json || (g->to.env != NULL && (g->id != f->id || g->n == PC_MOST_GATHERED) && !pc_gather_send(env, g))) {
        return false;
    }
    for (;;) {
        enum pc_chunk state = g->to.env == NULL ? begin(g, f->id) : PC_CHUNK_WANTED;
        if (state != PC_CHUNK_WANTED) {
            pc_channel_drop_frame(g->c, f);
            return state == PC_CHUNK_LEFT;
        }
        ERL_NIF_TERM value;
        f->r = start;
        enum pc_status status = pc_lane_decode(&g->to, f, budget, &value);
        if (status == PC_OK) {
            count(g, f);
            g->terms[g->n++] = value;
            return true;
        }
        if (g->n == 0) {
            return add_alone(env, g, f, budget, is_taken, status, value);
        }
        if (!pc_gather_send(env, g)) { /* and then once more, in an env of its own */
            return false;
        }
    }
}
