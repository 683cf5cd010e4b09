/*
 * The out-of-line half of MessagePack writing: bodies, lengths that are known only afterwards, and the slow twins of
 * pack.h. The bytes come from msgpack-c's templates; nothing here knows a format byte, except for the 32-bit
 * extension header, which the template would choose shorter.
 */

#include "writer.h"

enum {
    EXT32 = 0xc9,
    EXT32_HEADER = 6,
    FRAME_HEADER = 4,
};

/* A small writer beside the real one, which has less than PC_PACK_MOST bytes left, or has failed. */
struct aside {
    uint8_t bytes[PC_PACK_MOST];
    struct pc_writer w;
};

static struct pc_writer *aside_begin(struct aside *a) {
    pc_writer_init(&a->w, a->bytes, sizeof a->bytes, sizeof a->bytes, NULL, NULL);
    return &a->w;
}

static void aside_end(struct aside *a, struct pc_writer *w) { pc_writer_append(w, a->bytes, a->w.len); }

/* MessagePack holds no longer length. */
static bool fits_u32(struct pc_writer *w, size_t n) {
    if (n <= UINT32_MAX) {
        return true;
    }
    if (w->status == PC_OK) {
        w->status = PC_TOO_BIG;
    }
    return false;
}

void pc_pack_int_slow(struct pc_writer *w, int64_t value) {
    struct aside a;
    msgpack_pack_int64(aside_begin(&a), value);
    aside_end(&a, w);
}

void pc_pack_uint_slow(struct pc_writer *w, uint64_t value) {
    struct aside a;
    msgpack_pack_uint64(aside_begin(&a), value);
    aside_end(&a, w);
}

void pc_pack_double_slow(struct pc_writer *w, double value) {
    struct aside a;
    msgpack_pack_double(aside_begin(&a), value);
    aside_end(&a, w);
}

void pc_pack_str_header_slow(struct pc_writer *w, size_t n) {
    struct aside a;
    if (fits_u32(w, n)) {
        msgpack_pack_str(aside_begin(&a), n);
        aside_end(&a, w);
    }
}

void pc_pack_bin_header_slow(struct pc_writer *w, size_t n) {
    struct aside a;
    if (fits_u32(w, n)) {
        msgpack_pack_bin(aside_begin(&a), n);
        aside_end(&a, w);
    }
}

void pc_pack_array_slow(struct pc_writer *w, size_t count) {
    struct aside a;
    if (fits_u32(w, count)) {
        msgpack_pack_array(aside_begin(&a), count);
        aside_end(&a, w);
    }
}

void pc_pack_map_slow(struct pc_writer *w, size_t count) {
    struct aside a;
    if (fits_u32(w, count)) {
        msgpack_pack_map(aside_begin(&a), count);
        aside_end(&a, w);
    }
}

void pc_write_str(struct pc_writer *w, const void *utf8, size_t n) {
    pc_write_str_header(w, n);
    pc_writer_append(w, utf8, n);
}

void pc_write_bin(struct pc_writer *w, const void *bytes, size_t n) {
    pc_write_bin_header(w, n);
    pc_writer_append(w, bytes, n);
}

void pc_write_ext_header(struct pc_writer *w, int8_t type, size_t n) {
    struct aside a;
    if (fits_u32(w, n)) {
        msgpack_pack_ext(aside_begin(&a), n, type);
        aside_end(&a, w);
    }
}

void pc_write_ext(struct pc_writer *w, int8_t type, const void *bytes, size_t n) {
    pc_write_ext_header(w, type, n);
    pc_writer_append(w, bytes, n);
}

/* Width of the header of an array of `count`. */
static size_t array_header(size_t count) { return count < 16 ? 1 : count < 65536 ? 3 : 5; }

size_t pc_write_array_widen(struct pc_writer *w, size_t mark, size_t count) {
    size_t header = array_header(count);
    size_t by = array_header(count + 1) - header;
    size_t end = w->len;
    if (by == 0 || pc_writer_claim(w, by) == NULL) {
        return 0;
    }
    uint8_t *body = w->data + mark + header;
    memmove(body + by, body, end - mark - header);
    return by;
}

size_t pc_write_ext_begin(struct pc_writer *w) {
    size_t mark = w->len;
    (void)pc_writer_claim(w, EXT32_HEADER);
    return mark;
}

void pc_write_ext_end(struct pc_writer *w, size_t mark, int8_t type) { pc_write_ext_end_apart(w, mark, type, 0); }

void pc_write_ext_end_apart(struct pc_writer *w, size_t mark, int8_t type, size_t elsewhere) {
    size_t n = w->len - mark - EXT32_HEADER + elsewhere;
    if (w->status == PC_OK && fits_u32(w, n)) {
        uint8_t *header = w->data + mark;
        header[0] = EXT32;
        _msgpack_store32(header + 1, (uint32_t)n);
        header[5] = (uint8_t)type;
    }
}

size_t pc_write_frame_begin(struct pc_writer *w) {
    size_t mark = w->len;
    (void)pc_writer_claim(w, FRAME_HEADER);
    return mark;
}

void pc_write_frame_end(struct pc_writer *w, size_t mark) { pc_write_frame_end_apart(w, mark, 0); }

void pc_write_frame_end_apart(struct pc_writer *w, size_t mark, size_t elsewhere) {
    size_t n = w->len - mark - FRAME_HEADER + elsewhere;
    if (w->status == PC_OK && fits_u32(w, n)) {
        _msgpack_store32(w->data + mark, (uint32_t)n);
    }
}
