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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
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
