#ifndef PC_CODEC_WRITER_H
#define PC_CODEC_WRITER_H

/*
 * A growing buffer with a sticky error, and MessagePack written into it by msgpack-c's packing
 * templates. After the first failure every write does nothing, so encoders read as straight
 * lines and look at `status` once.
 *
 * The memory belongs to whoever supplied `grow`; the writer never frees it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "limits.h"

struct pc_writer;

/*
 * Makes room for at least `need` bytes in all: sets w->data and w->cap, keeps the first w->len bytes.
 * Returns false when it cannot; the writer then becomes PC_NO_MEMORY.
 */
typedef bool (*pc_grow_fn)(struct pc_writer *w, size_t need);

struct pc_writer {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* most bytes this writer may hold */
    enum pc_status status;
    pc_grow_fn grow;
    void *owner; /* for grow */
};

/* Starts an empty writer over memory of the caller's (data may be NULL with cap 0). */
void pc_writer_init(struct pc_writer *w, uint8_t *data, size_t cap, size_t max, pc_grow_fn grow, void *owner);

/* A grow function over realloc(3); free w->data with free(3). */
bool pc_grow_malloc(struct pc_writer *w, size_t need);

/* Slow path of pc_writer_claim: grows geometrically or sets the status. Returns whether n bytes fit now. */
bool pc_writer_reserve(struct pc_writer *w, size_t n);

/* The one bounds check: a place for the next n bytes, already counted in len, or NULL once failed. */
static inline uint8_t *pc_writer_claim(struct pc_writer *w, size_t n) {
    if (__builtin_expect(w->cap - w->len < n || w->status != PC_OK, 0)) {
        if (!pc_writer_reserve(w, n)) {
            return NULL;
        }
    }
    uint8_t *place = w->data + w->len;
    w->len += n;
    return place;
}

/* memcpy, without the call for a few bytes: two copies of a fixed size that may overlap. */
static inline void pc_bytes_copy(uint8_t *to, const uint8_t *from, size_t n) {
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
}

static inline void pc_writer_append(struct pc_writer *w, const void *bytes, size_t n) {
    uint8_t *place = pc_writer_claim(w, n);
    if (place != NULL) {
        pc_bytes_copy(place, bytes, n);
    }
}

/* Appends again the n bytes that stand at `at`; both lie below len. */
static inline void pc_writer_repeat(struct pc_writer *w, size_t at, size_t n) {
    struct {
        uint8_t bytes[32];
    } block;
    if (n <= sizeof block && w->cap - w->len >= sizeof block && w->status == PC_OK) {
        /* One fixed copy is faster than a call for the bytes that are needed. */
        memcpy(&block, w->data + at, sizeof block);
        memcpy(w->data + w->len, &block, sizeof block);
        w->len += n;
        return;
    }
    uint8_t *place = pc_writer_claim(w, n);
    if (place != NULL) {
        memcpy(place, w->data + at, n);
    }
}

/* Scalars. Inline, in pack.h. */
static inline void pc_write_nil(struct pc_writer *w);
static inline void pc_write_bool(struct pc_writer *w, bool value);
static inline void pc_write_int(struct pc_writer *w, int64_t value);
static inline void pc_write_uint(struct pc_writer *w, uint64_t value);
static inline void pc_write_double(struct pc_writer *w, double value);

/* Header and body. n must fit 32 bits, otherwise the writer becomes PC_TOO_BIG. */
void pc_write_str(struct pc_writer *w, const void *utf8, size_t n);
void pc_write_bin(struct pc_writer *w, const void *bytes, size_t n);
void pc_write_ext(struct pc_writer *w, int8_t type, const void *bytes, size_t n);
static inline void pc_write_cstr(struct pc_writer *w, const char *text) { pc_write_str(w, text, strlen(text)); }

/* Headers only; the caller writes the body. Inline, in pack.h; the same bound on n and count. */
static inline void pc_write_str_header(struct pc_writer *w, size_t n);
static inline void pc_write_bin_header(struct pc_writer *w, size_t n);
static inline void pc_write_array(struct pc_writer *w, size_t count);
static inline void pc_write_map(struct pc_writer *w, size_t count);
void pc_write_ext_header(struct pc_writer *w, int8_t type, size_t n);

/*
 * An array whose count is known only afterwards. begin leaves room for the header of a few elements; widen is called
 * before the element that needs a wider header (15 and 65535 are there already; anywhere else it does nothing), and
 * moves what was written since by as many bytes as it returns; end fills in the header. The first and the last are inline.
 */
static inline size_t pc_write_array_begin(struct pc_writer *w);
size_t pc_write_array_widen(struct pc_writer *w, size_t mark, size_t count);
static inline void pc_write_array_end(struct pc_writer *w, size_t mark, size_t count);

/*
 * An extension whose length is known only afterwards: begin returns a mark, end fills in the 32-bit
 * header that begin left room for. `elsewhere` counts bytes of the payload that will stand in the output but not in w.
 */
size_t pc_write_ext_begin(struct pc_writer *w);
void pc_write_ext_end(struct pc_writer *w, size_t mark, int8_t type);
void pc_write_ext_end_apart(struct pc_writer *w, size_t mark, int8_t type, size_t elsewhere);

/* The same for a frame: room for the u32 length, and its value. */
size_t pc_write_frame_begin(struct pc_writer *w);
void pc_write_frame_end(struct pc_writer *w, size_t mark);
void pc_write_frame_end_apart(struct pc_writer *w, size_t mark, size_t elsewhere);

#include "pack.h"

#endif
