/* See frame.h. Parses nothing behind the id. */
#include "nif/frame.h"

#include <string.h>

#include "nif/atoms.h"
#include "nif/channel.h"
#include "nif/parcel.h"
#include "nif/refs.h"
#include "wire/kinds.h"

bool pc_frame_open(struct pc_frame *f) {
    f->json = pc_frame_is_json(f->payload, f->n);
    if (f->json) {
        if (!pc_json_head_read(f->payload, f->n, &f->head)) {
            return false;
        }
        f->kind = f->head.kind;
        f->id = f->head.id;
        return true;
    }
    pc_reader_init(&f->r, f->payload, f->n);
    return pc_read_array(&f->r, &f->count) == PC_OK && f->count >= 2 && pc_read_int(&f->r, &f->kind) == PC_OK &&
           pc_read_uint(&f->r, &f->id) == PC_OK;
}

/* What stands at the end of an answer with segments. */
static bool read_segments(struct pc_frame *f) {
    if (!pc_segment_footer_read(f->value, f->size, &f->segments)) {
        return false;
    }
    f->size -= f->segments.size;
    for (uint32_t i = 0; i < f->segments.count; i++) {
        struct pc_segment_name name;
        pc_segment_footer_name(&f->segments, i, &name);
        f->apart += name.n;
    }
    return true;
}

/* How many references there are stands behind the value, always in five bytes. */
static void read_refs(struct pc_frame *f) {
    enum { REFS = 5, UINT32 = 0xce, NONE = 0 };
    static const uint8_t none[REFS] = {UINT32, NONE, NONE, NONE, NONE};
    if (f->kind != PC_KIND_ERROR && f->count > 4 && f->size > REFS && f->value[f->size - REFS] == UINT32) {
        f->has_refs = memcmp(f->value + f->size - REFS, none, REFS) != 0;
        f->size -= REFS;
    }
}

bool pc_frame_answer(struct pc_frame *f) {
    if (f->json) {
        struct pc_json_answer text;
        if (!pc_json_answer_read(f->payload, f->n, &f->head, &text)) {
            return false;
        }
        f->python_ns = text.python_ns;
        f->value = text.value;
        f->size = text.size;
        return true;
    }
    if (f->count < 4 || pc_read_int(&f->r, &f->python_ns) != PC_OK) {
        return false;
    }
    f->value = f->r.p;
    f->size = pc_reader_left(&f->r);
    if (f->kind != PC_KIND_ERROR && f->count == PC_SEGMENT_REPLY_COUNT && !read_segments(f)) {
        return false;
    }
    read_refs(f);
    return true;
}

ERL_NIF_TERM pc_frame_kind(const struct pc_frame *f) { return f->kind == PC_KIND_ERROR ? am_fault : am_reply; }

ERL_NIF_TERM pc_frame_times(ErlNifEnv *env, const struct pc_frame *f, bool timed, int64_t codec_ns) {
    ERL_NIF_TERM python_ns = enif_make_int64(env, f->python_ns);
    return timed ? enif_make_tuple2(env, python_ns, enif_make_int64(env, codec_ns)) : python_ns;
}

ERL_NIF_TERM pc_frame_bytes(ErlNifEnv *env, const struct pc_frame *f) {
    return enif_make_uint64(env, f->n + f->apart + PC_FRAME_HEADER);
}

void pc_channel_drop_frame(struct pc_channel *c, const struct pc_frame *f) {
    pc_channel_drop_refs(c, f->has_refs, f->id);
    pc_parcel_refuse(c->buffers, &f->segments);
}

void pc_frame_error_write(struct pc_writer *w, uint64_t id, const char *kind, const char *message) {
    pc_write_array(w, 4);
    pc_write_uint(w, PC_KIND_ERROR);
    pc_write_uint(w, id);
    pc_write_uint(w, 0);
    pc_write_map(w, 2);
    pc_write_cstr(w, "kind");
    pc_write_cstr(w, kind);
    pc_write_cstr(w, "message");
    pc_write_cstr(w, message);
}

static const char unknown_text[] = "a frame of a kind that this version does not know";

void pc_frame_refuse(struct pc_writer *w, const struct pc_frame *f) {
    if (f->json) {
        pc_json_answer_write(w, PC_KIND_ERROR, f->id, 0);
        pc_json_put(w, "{\"kind\":\"unknown_kind\",\"message\":\"");
        pc_json_put(w, unknown_text);
        pc_json_put(w, "\"}]");
        return;
    }
    pc_frame_error_write(w, f->id, "unknown_kind", unknown_text);
}
