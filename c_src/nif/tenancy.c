/* See tenancy.h; and what a worker is told to forget, which is noted in its lane so that it comes behind the calls that it concerns. */
#include "nif/tenancy.h"

#include <string.h>

#include "nif/atoms.h"
#include "nif/nif.h"
#include "nif/refs.h"
#include "nif/send.h"
#include "wire/kinds.h"

static ErlNifResourceType *tenancy_type;

bool pc_tenancy_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_tenancy **tenancy) {
    return enif_get_resource(env, term, tenancy_type, (void **)tenancy);
}

/* ---- What a worker is told to forget */

enum { MOST_IN_A_FRAME = 1000, BYTES_OF_A_REF = 20, BYTES_OF_A_FRAME = 64 };

/* One frame: the session, unless that is 0, and as many references as there is room for; *list is what is left. False when out of memory. */
static bool write_forget(struct pc_writer *w, uint64_t session, struct pc_release **list) {
    size_t n = 0;
    for (const struct pc_release *r = *list; r != NULL && n < MOST_IN_A_FRAME; r = r->next) {
        n++;
    }
    size_t mark = pc_write_frame_begin(w);
    pc_write_array(w, 4);
    pc_write_uint(w, PC_KIND_FORGET);
    pc_write_uint(w, 0);
    pc_write_array(w, 2 * n);
    for (; n > 0; n--) {
        struct pc_release *r = *list;
        pc_write_uint(w, r->call);
        pc_write_int(w, r->index == PC_ALL_REFS ? -1 : (int64_t)r->index);
        *list = r->next;
        enif_free(r);
    }
    pc_write_array(w, session != 0);
    if (session != 0) {
        pc_write_uint(w, session);
    }
    pc_write_frame_end(w, mark);
    return w->status == PC_OK;
}

/* Without memory for it the worker keeps what it could drop, until it ends. */
static void forget(ErlNifEnv *env, struct pc_channel *c, uint64_t session) {
    uint8_t local[BYTES_OF_A_FRAME + MOST_IN_A_FRAME * BYTES_OF_A_REF];
    struct pc_release *list = pc_released_take(c);
    bool good = true;
    while (good && (list != NULL || session != 0)) {
        struct pc_writer w;
        pc_writer_init(&w, local, sizeof local, sizeof local, NULL, NULL);
        good = write_forget(&w, session, &list) && pc_lane_append(c->lane, w.data, w.len, false);
        session = 0;
    }
    pc_released_free(list);
    pc_channel_wake(env, c);
}

ERL_NIF_TERM nif_lane_forget(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_channel *c;
    if (!pc_channel_get(env, argv[0], &c) || c->lane == NULL || !pc_channel_is_controller(env, c)) {
        return enif_make_badarg(env);
    }
    forget(env, c, 0);
    return am_ok;
}

/* ---- Tenants */

static void keep(void *channel) { enif_keep_resource(channel); }

/* The tenant has ended: the worker forgets its state, and who waits may go where it was, or would have been. */
static void vacate(ErlNifEnv *env, struct pc_tenancy *t) {
    struct pc_lane *lane = pc_tenant_lane(&t->tenant);
    if (lane == NULL) {
        pc_dispatcher_settle(env, t->dispatcher);
        return;
    }
    struct pc_channel *c = lane->channel;
    forget(env, c, t->tenant.id);
    if (c->slots != NULL) {
        /* Its reader gives it back if it has nothing to do; and somebody may wait who can reserve it now. */
        pc_send(env, &c->reader, enif_alloc_env(), am_pitcrew_lent);
        pc_slots_lend(env, c->slots, lane->dispatch);
    }
}

/* Nothing of its own waits: a call would keep it. Whoever had it may have been killed before it could end it. */
static void tenancy_dtor(ErlNifEnv *env, void *object) {
    struct pc_tenancy *t = object;
    if (!t->tenant.ended) {
        (void)pc_tenant_end(&t->tenant);
        vacate(env, t);
    }
    if (t->tenant.lane != NULL) {
        enif_release_resource(t->tenant.lane->channel);
    }
    pc_dispatcher_release(t->dispatcher);
}

int pc_tenancy_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = tenancy_dtor, .members = 1};
    tenancy_type = enif_init_resource_type(env, "pitcrew_tenant", &init, flags, NULL);
    return tenancy_type == NULL ? -1 : 0;
}

ERL_NIF_TERM nif_tenant_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifUInt64 id;
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || !enif_get_uint64(env, argv[1], &id) || id == 0 ||
        !enif_is_atom(env, argv[2])) {
        return enif_make_badarg(env);
    }
    struct pc_tenancy *t = enif_alloc_resource(tenancy_type, sizeof *t);
    pc_tenant_init(&t->tenant, &dispatcher->d, id, enif_is_identical(argv[2], am_true), keep);
    t->dispatcher = dispatcher;
    enif_keep_resource(dispatcher);
    ERL_NIF_TERM term = enif_make_resource(env, t);
    enif_release_resource(t);
    return term;
}

ERL_NIF_TERM nif_tenant_share(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_tenancy *t;
    struct pc_channel *c;
    if (!pc_tenancy_get(env, argv[0], &t) || !pc_channel_get(env, argv[1], &c) || c->lane == NULL ||
        c->lane->dispatch != &t->dispatcher->d) {
        return enif_make_badarg(env);
    }
    bool shares = pc_tenant_share(&t->tenant, c->lane);
    if (shares) {
        pc_channel_wake(env, c); /* kept clear for somebody who was to reserve it, it may have others waiting now */
    }
    return shares ? am_true : am_false;
}

ERL_NIF_TERM nif_tenant_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_tenancy *t;
    if (!pc_tenancy_get(env, argv[0], &t)) {
        return enif_make_badarg(env);
    }
    struct pc_lane *lane = pc_tenant_lane(&t->tenant);
    return enif_make_tuple2(env, lane == NULL ? am_none : enif_make_resource(env, lane->channel),
                            pc_tenant_is_busy(&t->tenant) ? am_busy : am_idle);
}

ERL_NIF_TERM nif_tenant_end(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_tenancy *t;
    if (!pc_tenancy_get(env, argv[0], &t)) {
        return enif_make_badarg(env);
    }
    ERL_NIF_TERM gone = enif_make_tuple2(env, am_gone, argv[1]);
    pc_jobs_end(env, pc_tenant_end(&t->tenant), gone, gone);
    vacate(env, t);
    return am_ok;
}
