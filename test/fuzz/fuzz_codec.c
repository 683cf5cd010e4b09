/*
 * Arbitrary bytes as MessagePack: skip and read agree, no read leaves the input, and what was read and written
 * again is read and written the same once more.
 */
#include <stdlib.h>

#include "rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool condition) {
    if (!condition) {
        abort();
    }
}

/* The value at the start of the input, rewritten; NULL when it is refused. */
static uint8_t *rewritten(const uint8_t *data, size_t size, size_t *n, size_t *consumed) {
    struct pc_reader r;
    struct pc_writer w;
    pc_reader_init(&r, data, size);
    pc_writer_init(&w, NULL, 0, 16 * size + 64, pc_grow_malloc, NULL);
    if (!pc_rewrite(&r, &w, PC_MAX_DEPTH)) {
        free(w.data);
        return NULL;
    }
    expect(w.status == PC_OK);
    *n = w.len;
    *consumed = size - pc_reader_left(&r);
    return w.data;
}

static bool is_same(const struct pc_token *a, const struct pc_token *b) {
    if (a->type != b->type || (a->type == PC_EXT && a->ext != b->ext)) {
        return false;
    }
    switch (a->type) {
    case PC_NIL:
        return true;
    case PC_BOOL:
        return a->b == b->b;
    case PC_INT:
    case PC_UINT:
    case PC_FLOAT:
        return a->u == b->u; /* the bits */
    case PC_ARRAY:
    case PC_MAP:
        return a->len == b->len;
    default:
        return a->len == b->len && a->data == b->data;
    }
}

/* The inline half of the reader and the other one read the same tokens. */
static void compare_readers(const uint8_t *data, size_t size) {
    struct pc_reader fast, slow;
    pc_reader_init(&fast, data, size);
    pc_reader_init(&slow, data, size);
    for (;;) {
        struct pc_token a, b;
        enum pc_status status = pc_reader_next_slow(&slow, &b);
        enum pc_status other = pc_reader_next(&fast, &a);
        expect(status == other && fast.p == slow.p);
        if (status != PC_OK) {
            return;
        }
        expect(is_same(&a, &b));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    compare_readers(data, size);
    size_t n, consumed, again, all;
    uint8_t *once = rewritten(data, size, &n, &consumed);
    struct pc_reader r;
    pc_reader_init(&r, data, size);
    enum pc_status skipped = pc_reader_skip(&r);
    if (once == NULL) {
        return 0;
    }
    expect(skipped == PC_OK && size - pc_reader_left(&r) == consumed);
    expect(n <= consumed * 2 + 8); /* the canonical form is no longer, but for a float32 */
    uint8_t *twice = rewritten(once, n, &again, &all);
    expect(twice != NULL && again == n && all == n && memcmp(once, twice, n) == 0);
    (void)pc_utf8_valid(data, size);
    free(once);
    free(twice);
    return 0;
}
