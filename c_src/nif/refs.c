/*
 * See refs.h. A handle or a lease keeps its channel, so that what is noted has somewhere to go; nothing keeps them but terms, and a handle
 * its lease. Whether there is anything to let go of is decided by the lease's state:
 *
 *   pending    the lease's end lets go of all, a handle's of nothing: it belongs to an answer that nobody has got
 *   ended      a handle's end lets go of its reference
 *   abandoned  neither does
 */
#include "nif/refs.h"

#include <stdatomic.h>

#include "codec/ext.h"
#include "codec/reader.h"
#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/term_private.h"

enum lease_state { LEASE_PENDING, LEASE_ENDED, LEASE_ABANDONED };

struct pc_lease {
    struct pc_channel *channel;
    uint64_t call;
    atomic_int state;
    struct pc_release *note;
};

struct pc_ref {
    struct pc_lease *lease;
    uint32_t index;
    struct pc_release *note;
};

static ErlNifResourceType *lease_type, *ref_type;

/*
 * ---- What is collected
 *
 * Whoever notes something where there was nothing tells the worker's process, which takes all notes, and then looks whether anything refers to the
 * worker still. So it is told after the lease of what was noted is gone; and by the last lease, if there is no note then that it is still told of.
 */

static bool is_over(struct pc_channel *c) { return (pc_machine_word(&c->machine) & (PC_VERDICT | PC_CLOSED)) != 0; }

/* Takes the note. Whether it is the first one there. */
static bool note_down(struct pc_channel *c, struct pc_release *note, bool is_due) {
    if (note == NULL) {
        return false;
    }
    if (!is_due || is_over(c)) {
        enif_free(note);
        return false;
    }
    struct pc_release *next = atomic_load(&c->released);
    do {
        note->next = next;
    } while (!atomic_compare_exchange_weak(&c->released, &next, note));
    return next == NULL; /* the note may be taken and freed by now */
}

static void tell(ErlNifEnv *env, struct pc_channel *c) {
    if (!is_over(c)) {
        ErlNifEnv *message = enif_alloc_env();
        (void)enif_send(env, &c->controller, message, am_pitcrew_released);
        enif_free_env(message);
    }
}

struct pc_release *pc_released_take(struct pc_channel *c) {
    return atomic_exchange(&c->released, NULL);
}

void pc_released_free(struct pc_release *list) {
    while (list != NULL) {
        struct pc_release *next = list->next;
        enif_free(list);
        list = next;
    }
}

static struct pc_release *new_note(uint64_t call, uint32_t index) {
    struct pc_release *note = enif_alloc(sizeof *note);
    if (note != NULL) {
        *note = (struct pc_release){.call = call, .index = index};
    }
    return note;
}

/* ---- Leases */

static void lease_dtor(ErlNifEnv *env, void *object) {
    struct pc_lease *lease = object;
    struct pc_channel *c = lease->channel;
    bool is_first = note_down(c, lease->note, atomic_load(&lease->state) == LEASE_PENDING);
    bool is_last = atomic_fetch_sub(&c->refs, 1) == 1;
    if (is_first || (is_last && atomic_load(&c->released) == NULL)) {
        tell(env, c);
    }
    enif_release_resource(c);
    atomic_fetch_sub(&pc_nif_state(env)->refs, 1);
}

struct pc_lease *pc_lease_new(struct pc_channel *channel, uint64_t call) {
    struct pc_release *note = new_note(call, PC_ALL_REFS);
    struct pc_lease *lease = note == NULL ? NULL : enif_alloc_resource(lease_type, sizeof *lease);
    if (lease == NULL) {
        enif_free(note);
        return NULL;
    }
    lease->channel = channel;
    lease->call = call;
    lease->note = note;
    atomic_init(&lease->state, LEASE_PENDING);
    atomic_fetch_add(&channel->refs, 1);
    enif_keep_resource(channel);
    atomic_fetch_add(&pc_nif_state_any()->refs, 1);
    return lease;
}

void pc_lease_release(struct pc_lease *lease) { enif_release_resource(lease); }

void pc_channel_drop_refs(struct pc_channel *channel, bool has_refs, uint64_t call) {
    struct pc_lease *lease = has_refs ? pc_lease_new(channel, call) : NULL;
    if (lease != NULL) {
        pc_lease_release(lease);
    }
}

ERL_NIF_TERM pc_lease_term(ErlNifEnv *env, struct pc_lease *lease) { return enif_make_resource(env, lease); }

bool pc_lease_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_lease **lease) {
    return enif_get_resource(env, term, lease_type, (void **)lease);
}

void pc_lease_end(struct pc_lease *lease) { atomic_store(&lease->state, LEASE_ENDED); }
void pc_lease_abandon(struct pc_lease *lease) { atomic_store(&lease->state, LEASE_ABANDONED); }

/* ---- Handles */

static void ref_dtor(ErlNifEnv *env, void *object) {
    struct pc_ref *ref = object;
    struct pc_channel *c = ref->lease->channel;
    bool is_first = note_down(c, ref->note, atomic_load(&ref->lease->state) == LEASE_ENDED);
    enif_keep_resource(c);
    enif_release_resource(ref->lease);
    if (is_first) {
        tell(env, c);
    }
    enif_release_resource(c);
    atomic_fetch_sub(&pc_nif_state(env)->refs, 1);
}

static struct pc_ref *new_ref(struct pc_lease *lease, uint32_t index) {
    struct pc_release *note = new_note(lease->call, index);
    struct pc_ref *ref = note == NULL ? NULL : enif_alloc_resource(ref_type, sizeof *ref);
    if (ref == NULL) {
        enif_free(note);
        return NULL;
    }
    *ref = (struct pc_ref){.lease = lease, .index = index, .note = note};
    enif_keep_resource(lease);
    atomic_fetch_add(&pc_nif_state_any()->refs, 1);
    return ref;
}

bool pc_ref_read(ErlNifEnv *env, struct pc_lease *lease, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term) {
    struct pc_reader r;
    uint32_t count, length;
    uint64_t call, index;
    const char *type;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count < 3 || pc_read_uint(&r, &call) != PC_OK || call != lease->call ||
        pc_read_uint(&r, &index) != PC_OK || index >= PC_ALL_REFS || pc_read_str(&r, &type, &length) != PC_OK) {
        return false;
    }
    struct pc_ref *ref = new_ref(lease, (uint32_t)index);
    if (ref == NULL) {
        return false;
    }
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS] = {enif_make_resource(env, ref),
                                             pc_dispatcher_of(lease->channel->lane)->name};
    enif_release_resource(ref);
    return pc_term_make_binary(env, (const uint8_t *)type, length, &fields[2]) &&
           pc_struct_make(env, PC_STRUCT_REF, fields, term);
}

bool pc_ref_get(ErlNifEnv *env, ERL_NIF_TERM handle, struct pc_ref **ref) {
    return enif_get_resource(env, handle, ref_type, (void **)ref);
}

struct pc_channel *pc_ref_channel(const struct pc_ref *ref) {
    return ref->lease->channel;
}

void pc_ref_write(struct pc_writer *w, const struct pc_ref *ref) {
    size_t mark = pc_write_ext_begin(w);
    pc_write_array(w, 2);
    pc_write_uint(w, ref->lease->call);
    pc_write_uint(w, ref->index);
    pc_write_ext_end(w, mark, PC_EXT_REF);
}

int pc_refs_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit lease = {.dtor = lease_dtor, .members = 1};
    ErlNifResourceTypeInit ref = {.dtor = ref_dtor, .members = 1};
    lease_type = enif_init_resource_type(env, "pitcrew_lease", &lease, flags, NULL);
    ref_type = enif_init_resource_type(env, "pitcrew_ref", &ref, flags, NULL);
    return lease_type == NULL || ref_type == NULL ? -1 : 0;
}
