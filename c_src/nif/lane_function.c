/* See lane_function.h. The call may end at any moment: whoever answers says so to a worker that has stopped listening. */
#include "nif/lane_function.h"

#include "nif/atoms.h"
#include "nif/lane_answer.h"
#include "nif/note.h"
#include "nif/send.h"

struct target {
    bool hosted;
    ErlNifPid host;
};

/* Under the dispatcher's lock: the job may be gone at any other time. */
static void look(const struct pc_call *call, void *context) {
    const struct pc_job *job = (const struct pc_job *)call;
    struct target *to = context;
    to->hosted = job->hosted;
    to->host = job->host;
}

/* [call, index], and behind it the value of the frame. */
static bool read_handle(struct pc_frame *f, uint64_t *call, uint64_t *index) {
    uint32_t n;
    if (f->json || f->count < 4 || pc_read_array(&f->r, &n) != PC_OK || n != 2 || pc_read_uint(&f->r, call) != PC_OK ||
        pc_read_uint(&f->r, index) != PC_OK) {
        return false;
    }
    f->value = f->r.p;
    f->size = pc_reader_left(&f->r);
    return true;
}

static void say_gone(struct pc_channel *c, uint64_t id) {
    struct pc_note note;
    pc_frame_error_write(pc_note_begin(&note), id, "gone",
                         "the call that the function came with has ended, or nobody waits for it any more");
    /* Without memory for it the worker waits for as long as its call may. */
    (void)pc_note_append(&note, c->lane, false);
}

enum pc_function pc_lane_function(ErlNifEnv *env, struct pc_channel *c, struct pc_frame *f, bool *is_taken) {
    uint64_t call, index;
    struct target to = {.hosted = false};
    if (!read_handle(f, &call, &index)) {
        return PC_FUNCTION_WRONG;
    }
    uint64_t id = f->id;
    if (!pc_lane_look(c->lane, call, look, &to) || !to.hosted) {
        say_gone(c, id);
        return PC_FUNCTION_GONE;
    }
    ErlNifEnv *message = enif_alloc_env();
    ERL_NIF_TERM bytes;
    if (!pc_lane_value_bytes(message, &c->in, f, is_taken, &bytes)) {
        enif_free_env(message);
        say_gone(c, id);
        return PC_FUNCTION_GONE;
    }
    pc_send(env, &to.host, message,
            enif_make_tuple5(message, am_pitcrew_function, enif_make_resource(message, c),
                             enif_make_uint64(message, id), enif_make_uint64(message, index), bytes));
    return PC_FUNCTION_CALLED;
}
