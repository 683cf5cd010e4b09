#ifndef PC_CODEC_PACK_H
#define PC_CODEC_PACK_H

/*
 * The inline half of writer.h; include that. msgpack-c's packing templates, instantiated over struct pc_writer, decide
 * the bytes; the functions below decide only whether there is room. A header or scalar takes at most 9 bytes: when
 * those are there the template stores straight into the buffer, otherwise a slow function of pack.c packs aside
 * and appends exactly what came out, so that a writer can be filled to its last byte.
 */

#include <limits.h> /* the template wants CHAR_MIN */
#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>

enum { PC_PACK_MOST = 9 };

/* For the template: the room has been checked. */
static inline int pc_pack_store(struct pc_writer *w, const void *bytes, size_t n) {
    memcpy(w->data + w->len, bytes, n);
    w->len += n;
    return 0;
}

#define msgpack_pack_inline_func(name) static inline int msgpack_pack##name
#define msgpack_pack_user struct pc_writer *
#define msgpack_pack_append_buffer(w, bytes, n) return pc_pack_store((w), (bytes), (n))
#include <msgpack/pack_template.h>

/* An integer in the one byte that most of them take, or else by the template, whose tree of cases is long. */
static inline void pc_pack_int(struct pc_writer *w, int64_t value) {
    if (value >= -32 && value < 128) {
        w->data[w->len++] = (uint8_t)value;
    } else {
        msgpack_pack_int64(w, value);
    }
}

static inline bool pc_pack_has_room(const struct pc_writer *w) {
    return __builtin_expect(w->cap - w->len >= PC_PACK_MOST && w->status == PC_OK, 1);
}

void pc_pack_int_slow(struct pc_writer *w, int64_t value);
void pc_pack_uint_slow(struct pc_writer *w, uint64_t value);
void pc_pack_double_slow(struct pc_writer *w, double value);
void pc_pack_str_header_slow(struct pc_writer *w, size_t n);
void pc_pack_bin_header_slow(struct pc_writer *w, size_t n);
void pc_pack_array_slow(struct pc_writer *w, size_t count);
void pc_pack_map_slow(struct pc_writer *w, size_t count);

static inline void pc_write_nil(struct pc_writer *w) {
    if (pc_pack_has_room(w) || pc_writer_reserve(w, 1)) {
        msgpack_pack_nil(w);
    }
}

static inline void pc_write_bool(struct pc_writer *w, bool value) {
    if (pc_pack_has_room(w) || pc_writer_reserve(w, 1)) {
        (void)(value ? msgpack_pack_true(w) : msgpack_pack_false(w));
    }
}

static inline void pc_write_int(struct pc_writer *w, int64_t value) {
    if (pc_pack_has_room(w)) {
        pc_pack_int(w, value);
    } else {
        pc_pack_int_slow(w, value);
    }
}

static inline void pc_write_uint(struct pc_writer *w, uint64_t value) {
    if (pc_pack_has_room(w)) {
        msgpack_pack_uint64(w, value);
    } else {
        pc_pack_uint_slow(w, value);
    }
}

static inline void pc_write_double(struct pc_writer *w, double value) {
    if (pc_pack_has_room(w)) {
        msgpack_pack_double(w, value);
    } else {
        pc_pack_double_slow(w, value);
    }
}

static inline void pc_write_str_header(struct pc_writer *w, size_t n) {
    if (pc_pack_has_room(w) && n <= UINT32_MAX) {
        msgpack_pack_str(w, n);
    } else {
        pc_pack_str_header_slow(w, n);
    }
}

static inline void pc_write_bin_header(struct pc_writer *w, size_t n) {
    if (pc_pack_has_room(w) && n <= UINT32_MAX) {
        msgpack_pack_bin(w, n);
    } else {
        pc_pack_bin_header_slow(w, n);
    }
}

static inline void pc_write_array(struct pc_writer *w, size_t count) {
    if (pc_pack_has_room(w) && count <= UINT32_MAX) {
        msgpack_pack_array(w, count);
    } else {
        pc_pack_array_slow(w, count);
    }
}

static inline void pc_write_map(struct pc_writer *w, size_t count) {
    if (pc_pack_has_room(w) && count <= UINT32_MAX) {
        msgpack_pack_map(w, count);
    } else {
        pc_pack_map_slow(w, count);
    }
}

static inline size_t pc_write_array_begin(struct pc_writer *w) {
    size_t mark = w->len;
    (void)pc_writer_claim(w, 1);
    return mark;
}

/* Over the room that was left: the header has just that width. */
static inline void pc_write_array_end(struct pc_writer *w, size_t mark, size_t count) {
    if (w->status == PC_OK && count <= UINT32_MAX) {
        size_t end = w->len;
        w->len = mark;
        msgpack_pack_array(w, count);
        w->len = end;
    } else if (w->status == PC_OK) {
        w->status = PC_TOO_BIG;
    }
}

#endif
