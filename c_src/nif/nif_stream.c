/* stream_tell/3: what the consumer of a stream has to say to its worker, by way of the lane. */
#include "nif/atoms.h"
#include "nif/lane.h"
#include "nif/nif.h"
#include "nif/note.h"
#include "wire/kinds.h"
#include "wire/stream.h"

static void write_frame(struct pc_note *note, uint64_t id, int64_t credit) {
    struct pc_writer *w = pc_note_begin(note);
    pc_write_array(w, credit > 0 ? 3 : 2);
    pc_write_uint(w, credit > 0 ? PC_KIND_CREDIT : PC_KIND_END);
    pc_write_uint(w, id);
    if (credit > 0) {
        pc_write_int(w, credit);
    }
}

ERL_NIF_TERM nif_stream_tell(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_dispatcher *dispatcher;
    ErlNifPid self;
    ErlNifSInt64 credit = 0;
    bool ends = enif_is_identical(argv[2], am_stop);
    if (!pc_dispatcher_get(env, argv[0], &dispatcher) || enif_self(env, &self) == NULL || !enif_is_ref(env, argv[1]) ||
        !(ends || (enif_get_int64(env, argv[2], &credit) && credit > 0 && credit <= PC_MOST_CREDIT))) {
        return enif_make_badarg(env);
    }
    struct pc_note note;
    uint64_t id;
    const struct pc_lane_actor at = pc_lane_actor(env);
    struct pc_lane *lane =
        pc_dispatch_find_stream(&dispatcher->d, self.pid, pc_job_has_ref, &argv[1], credit, &at, &id);
    if (lane == NULL) {
        return am_none;
    }
    write_frame(&note, id, credit);
    bool said = pc_note_append(&note, lane, false);
    pc_channel_flush_lane(env, lane->channel, false);
    return said ? am_ok : am_none;
}
