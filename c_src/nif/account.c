/* See account.h. The resource belongs to a pool's process, its channels and whatever is held. */
#include "nif/account.h"

#include "nif/atoms.h"
#include "nif/buffers.h"
#include "nif/nif.h"

struct pc_account {
    ErlNifMutex *lock;
    size_t most;
    size_t held;
    unsigned count;
    struct pc_entry *first, *last; /* oldest first */
};

static ErlNifResourceType *account_type;

static void account_dtor(ErlNifEnv *env, void *object) {
    struct pc_account *a = object;
    if (a->lock != NULL) {
        enif_mutex_destroy(a->lock);
    }
    atomic_fetch_sub(&pc_nif_state(env)->accounts, 1);
}

int pc_account_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = account_dtor, .members = 1};
    account_type = enif_init_resource_type(env, "pitcrew_account", &init, flags, NULL);
    return account_type == NULL ? -1 : 0;
}

bool pc_account_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_account **account) {
    return enif_get_resource(env, term, account_type, (void **)account);
}

void pc_account_keep(struct pc_account *a) { enif_keep_resource(a); }
void pc_account_release(struct pc_account *a) { enif_release_resource(a); }

size_t pc_account_most(const struct pc_account *a) { return a->most; }

bool pc_account_enter(struct pc_account *a, struct pc_entry *entry) {
    enif_mutex_lock(a->lock);
    bool fits = entry->n <= a->most - a->held;
    if (fits) {
        a->held += entry->n;
        a->count++;
        entry->next = NULL;
        entry->previous = a->last;
        *(a->last == NULL ? &a->first : &a->last->next) = entry;
        a->last = entry;
    }
    enif_mutex_unlock(a->lock);
    return fits;
}

void pc_account_leave(struct pc_account *a, struct pc_entry *entry) {
    enif_mutex_lock(a->lock);
    a->held -= entry->n;
    a->count--;
    *(entry->previous == NULL ? &a->first : &entry->previous->next) = entry->next;
    *(entry->next == NULL ? &a->last : &entry->next->previous) = entry->previous;
    enif_mutex_unlock(a->lock);
}

/* ---- account_new/1, account_info/2 */

ERL_NIF_TERM nif_account_new(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    ErlNifUInt64 most;
    if (!enif_get_uint64(env, argv[0], &most)) {
        return enif_make_badarg(env);
    }
    if (!pc_buffers_possible()) {
        return am_none;
    }
    struct pc_account *a = enif_alloc_resource(account_type, sizeof *a);
    *a = (struct pc_account){.most = most < SIZE_MAX ? (size_t)most : SIZE_MAX};
    a->lock = enif_mutex_create("pitcrew_account");
    atomic_fetch_add(&pc_nif_state(env)->accounts, 1);
    ERL_NIF_TERM handle = enif_make_resource(env, a);
    enif_release_resource(a);
    return a->lock == NULL ? enif_raise_exception(env, am_no_memory) : handle;
}

enum { MOST_TOLD = 100, NS_PER_MS = 1000 * 1000 };

/* A process, what it was given, and for how many milliseconds that has been there. */
static ERL_NIF_TERM make_holder(ErlNifEnv *env, const struct pc_entry *entry, ErlNifTime now) {
    return enif_make_tuple3(env, enif_make_pid(env, &entry->receiver), enif_make_uint64(env, entry->n),
                            enif_make_int64(env, (now - entry->since) / NS_PER_MS));
}

/* The oldest come first, and only those that have been there for so long are listed. */
ERL_NIF_TERM nif_account_info(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_account *a;
    ErlNifSInt64 least_ms;
    struct pc_entry told[MOST_TOLD];
    unsigned n = 0;
    if (!pc_account_get(env, argv[0], &a) || !enif_get_int64(env, argv[1], &least_ms) || least_ms < 0) {
        return enif_make_badarg(env);
    }
    ErlNifTime now = enif_monotonic_time(ERL_NIF_NSEC);
    enif_mutex_lock(a->lock);
    size_t held = a->held;
    unsigned count = a->count;
    for (const struct pc_entry *e = a->first; e != NULL && n < MOST_TOLD; e = e->next) {
        if ((now - e->since) / NS_PER_MS >= least_ms) {
            told[n++] = *e;
        }
    }
    enif_mutex_unlock(a->lock);
    ERL_NIF_TERM holders = enif_make_list(env, 0);
    while (n > 0) {
        holders = enif_make_list_cell(env, make_holder(env, &told[--n], now), holders);
    }
    return enif_make_tuple3(env, enif_make_uint64(env, held), enif_make_uint(env, count), holders);
}
