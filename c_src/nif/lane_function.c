/* See lane_function.h. The call may end at any moment: whoever answers says so to a worker that has stopped listening. */
#include "nif/lane_function.h"

#include <string.h>

#include "nif/atoms.h"
#include "nif/lane_answer.h"
#include "nif/note.h"
#include "nif/send.h"
#include "wire/inner.h"

/* Whom to tell. */
struct target {
    bool named; /* a tool is called, which any call may */
    bool hosted, asked;
    ErlNifPid pid;
    ErlNifEnv *env; /* of the message, with the reference of the call where its owner is asked */
    ERL_NIF_TERM ref;
};

/*
 * Under the dispatcher's lock: the job may be gone at any other time. Without a host the call's owner is told, who makes one, and learns when it leaves that
 * a message may be on its way.
 */
static void look(struct pc_call *call, void *context) {
    const struct pc_job *job = (const struct pc_job *)call;
    struct target *to = context;
    to->hosted = job->hosted;
    to->pid = job->hosted ? job->host : job->owner;
    to->asked = to->named && !job->hosted && !call->deaf;
    if (to->asked) {
        to->ref = enif_make_copy(to->env, job->ref);
        call->messages++;
    }
}

/* What is called: a function of the call's, by its number, or a tool of the VM's, by its name. */
struct handle {
    uint64_t call, index;
    const char *name; /* or NULL */
    uint32_t n;
    bool waits; /* the worker can run something meanwhile */
};

/* Whether there is a true. */
static bool read_flag(struct pc_frame *f, bool *flag) {
    struct pc_token token;
    bool good = pc_reader_next(&f->r, &token) == PC_OK && token.type == PC_BOOL;
    *flag = good && token.b;
    return good;
}

/* [call, index | name, waits], of which the last may be missing, and behind it the value of the frame. */
static bool read_handle(struct pc_frame *f, struct handle *h) {
    uint32_t n;
    h->name = NULL;
    h->waits = false;
    if (f->json || f->count < 4 || pc_read_array(&f->r, &n) != PC_OK || n < 2 || n > 3 ||
        pc_read_uint(&f->r, &h->call) != PC_OK) {
        return false;
    }
    if (!pc_reader_is_number(&f->r) ? pc_read_str(&f->r, &h->name, &h->n) != PC_OK
                                    : pc_read_uint(&f->r, &h->index) != PC_OK) {
        return false;
    }
    if (n == 3 && !read_flag(f, &h->waits)) {
        return false;
    }
    f->value = f->r.p;
    f->size = pc_reader_left(&f->r);
    return true;
}

static enum pc_function say_gone(struct pc_channel *c, uint64_t id) {
    struct pc_note note;
    pc_frame_error_write(pc_note_begin(&note), id, "gone",
                         "the call that the function belongs to has ended, or nobody waits for it any more");
    /* Without memory for it the worker waits for as long as its call may. */
    (void)pc_note_append(&note, c->lane, false);
    return PC_FUNCTION_GONE;
}

/* Without memory for them there are none, which nobody can decode. */
static ERL_NIF_TERM make_bytes(ErlNifEnv *env, struct pc_channel *c, const struct pc_frame *f, bool *is_taken) {
    ERL_NIF_TERM bytes;
    if (!pc_lane_value_bytes(env, &c->in, f, is_taken, &bytes)) {
        (void)enif_make_new_binary(env, 0, &bytes);
    }
    return bytes;
}

static ERL_NIF_TERM make_what(ErlNifEnv *env, const struct handle *h) {
    ERL_NIF_TERM name;
    if (h->name == NULL) {
        return enif_make_uint64(env, h->index);
    }
    memcpy(enif_make_new_binary(env, h->n, &name), h->name, h->n);
    return name;
}

enum pc_function pc_lane_function(ErlNifEnv *env, struct pc_channel *c, struct pc_frame *f, bool *is_taken) {
    struct handle h;
    if (!read_handle(f, &h)) {
        return PC_FUNCTION_WRONG;
    }
    struct target to = {.named = h.name != NULL, .env = enif_alloc_env()};
    ErlNifEnv *message = to.env;
    bool known = pc_lane_look(c->lane, h.call, look, &to);
    if (!known || !(to.hosted || to.asked)) {
        enif_free_env(message);
        return say_gone(c, f->id);
    }
    bool waits = h.waits && pc_lane_waits(c->lane, h.call, f->id);
    ERL_NIF_TERM fields[] = {am_pitcrew_function,    enif_make_resource(message, c), enif_make_uint64(message, f->id),
                             make_what(message, &h), waits ? am_true : am_false,     0};
    fields[5] = make_bytes(message, c, f, is_taken); /* last: name and frame lie in what it may take */
    ERL_NIF_TERM what = enif_make_tuple_from_array(message, fields, sizeof fields / sizeof fields[0]);
    pc_send(env, &to.pid, message, to.hosted ? what : enif_make_tuple3(message, am_pitcrew_called, to.ref, what));
    return PC_FUNCTION_CALLED;
}
