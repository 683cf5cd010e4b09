/* See parcel.h. A held payload is a resource, which keeps the channel's buffers; a parcel keeps those that are its. */
#include "nif/parcel.h"

#include <string.h>

#include "nif/nif.h"

enum { KEPT_FREE = 16 }; /* of a worker's segments, so many are never held by terms, for it to go on with */

struct held {
    struct pc_buffers *buffers;
    struct pc_view view;
    struct pc_entry entry;
    bool is_counted; /* by the account, and the view is ours */
};

struct pc_parcel_item {
    struct pc_segment_name name;
    struct held *held;   /* owned; or NULL */
    struct pc_view view; /* to be copied, if `is_open` */
    bool is_open;
};

struct pc_parcel {
    struct pc_buffers *buffers;
    uint32_t count;
    struct pc_parcel_item items[];
};

static ErlNifResourceType *held_type, *parcel_type;

static void held_dtor(ErlNifEnv *env, void *object) {
    struct held *h = object;
    if (h->is_counted) {
        pc_account_leave(pc_buffers_account(h->buffers), &h->entry);
        pc_view_drop(&h->view);
    }
    pc_buffers_release(h->buffers);
    atomic_fetch_sub(&pc_nif_state(env)->held, 1);
}

void pc_parcel_end(struct pc_parcel *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->items[i].is_open) {
            pc_view_drop(&p->items[i].view);
            p->items[i].is_open = false;
        }
    }
}

static void parcel_dtor(ErlNifEnv *env, void *object) {
    struct pc_parcel *p = object;
    pc_parcel_end(p);
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->items[i].held != NULL) {
            enif_release_resource(p->items[i].held);
        }
    }
    pc_buffers_release(p->buffers);
    atomic_fetch_sub(&pc_nif_state(env)->held, 1);
}

int pc_parcel_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit held = {.dtor = held_dtor, .members = 1};
    ErlNifResourceTypeInit parcel = {.dtor = parcel_dtor, .members = 1};
    held_type = enif_init_resource_type(env, "pitcrew_held", &held, flags, NULL);
    parcel_type = enif_init_resource_type(env, "pitcrew_parcel", &parcel, flags, NULL);
    return held_type == NULL || parcel_type == NULL ? -1 : 0;
}

static bool may_hold(struct pc_buffers *b) {
    struct pc_views_info info;
    pc_views_info(pc_buffers_views(b), &info);
    return info.out <= PC_SEGMENTS - KEPT_FREE;
}

/* A resource for the view, if the pool lends so much; takes the view then. */
static struct held *hold(struct pc_buffers *b, const struct pc_view *view, const ErlNifPid *receiver) {
    struct held *h = may_hold(b) ? enif_alloc_resource(held_type, sizeof *h) : NULL;
    if (h == NULL) {
        return NULL;
    }
    *h = (struct held){
        .buffers = b,
        .view = *view,
        .entry = {.n = view->n, .receiver = *receiver, .since = enif_monotonic_time(ERL_NIF_NSEC)},
    };
    pc_buffers_keep(b);
    h->is_counted = pc_account_enter(pc_buffers_account(b), &h->entry);
    atomic_fetch_add(&pc_nif_state_any()->held, 1);
    if (!h->is_counted) {
        enif_release_resource(h);
        return NULL;
    }
    return h;
}

/* The item has its name. */
static void fill_item(struct pc_parcel_item *item, struct pc_buffers *b, const ErlNifPid *receiver, bool copy) {
    item->held = NULL;
    item->is_open = pc_views_get(pc_buffers_views(b), &item->name, &item->view) == PC_VIEW_OK;
    if (!item->is_open || copy) {
        return;
    }
    item->held = hold(b, &item->view, receiver);
    item->is_open = item->held == NULL;
}

struct pc_parcel *pc_parcel_new(struct pc_buffers *b, const struct pc_segment_footer *footer, const ErlNifPid *receiver,
                                bool copy) {
    struct pc_parcel *p =
        enif_alloc_resource(parcel_type, sizeof *p + (size_t)footer->count * sizeof(struct pc_parcel_item));
    if (p == NULL) {
        return NULL;
    }
    p->buffers = b;
    p->count = 0;
    pc_buffers_keep(b);
    atomic_fetch_add(&pc_nif_state_any()->held, 1);
    while (p->count < footer->count) {
        struct pc_parcel_item *item = &p->items[p->count];
        pc_segment_footer_name(footer, p->count, &item->name);
        fill_item(item, b, receiver, copy);
        p->count++;
    }
    return p;
}

void pc_parcel_release(struct pc_parcel *p) { enif_release_resource(p); }

void pc_parcel_refuse(struct pc_buffers *b, const struct pc_segment_footer *footer) {
    if (b != NULL) {
        pc_views_refuse(pc_buffers_views(b), footer);
    }
}

ERL_NIF_TERM pc_parcel_term(ErlNifEnv *env, struct pc_parcel *p) { return enif_make_resource(env, p); }

bool pc_parcel_get(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_parcel **parcel) {
    return enif_get_resource(env, term, parcel_type, (void **)parcel);
}

struct pc_parcel_item *pc_parcel_find(struct pc_parcel *p, const struct pc_segment_name *name) {
    for (uint32_t i = 0; i < p->count; i++) {
        struct pc_parcel_item *item = &p->items[i];
        if (item->name.index == name->index && item->name.generation == name->generation && item->name.n == name->n) {
            return item->held != NULL || item->is_open ? item : NULL;
        }
    }
    return NULL;
}

const uint8_t *pc_parcel_bytes(const struct pc_parcel_item *item, size_t *n) {
    const struct pc_view *view = item->held != NULL ? &item->held->view : &item->view;
    *n = view->n;
    return view->data;
}

bool pc_parcel_copies(const struct pc_parcel_item *item) { return item->held == NULL; }

bool pc_parcel_binary(ErlNifEnv *env, struct pc_parcel_item *item, ERL_NIF_TERM *term) {
    size_t n;
    const uint8_t *bytes = pc_parcel_bytes(item, &n);
    if (item->held != NULL) {
        *term = enif_make_resource_binary(env, item->held, bytes, n);
        return true;
    }
    uint8_t *copy = enif_make_new_binary(env, n, term);
    if (copy != NULL) {
        memcpy(copy, bytes, n);
    }
    return copy != NULL;
}
