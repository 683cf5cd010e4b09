/* What both ends of segment.h share, but the packets: names, sizes and generations. */
#include "wire/segment.h"

#include <unistd.h>

#include "codec/big_endian.h"
#include "wire/segment_private.h"

void pc_segment_name_write(const struct pc_segment_name *name, uint8_t bytes[PC_SEGMENT_NAME]) {
    pc_store_be(bytes, name->index, 4);
    pc_store_be(bytes + 4, name->generation, 4);
    pc_store_be(bytes + 8, name->n, 8);
}

void pc_segment_name_read(struct pc_segment_name *name, const uint8_t bytes[PC_SEGMENT_NAME]) {
    name->index = (uint32_t)pc_load_be(bytes, 4);
    name->generation = (uint32_t)pc_load_be(bytes + 4, 4);
    name->n = pc_load_be(bytes + 8, 8);
}

static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* In quarter steps between powers of two. */
size_t pc_segment_size(size_t n, size_t most) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (n > most || n > SIZE_MAX / 2 - page) {
        return 0;
    }
    size_t power = PC_SEGMENT_LEAST; /* the largest one that is not above n */
    while (power <= n / 2) {
        power *= 2;
    }
    size_t step = power / 4 > page ? power / 4 : page;
    size_t size = round_up(n > PC_SEGMENT_LEAST ? n : PC_SEGMENT_LEAST, step);
    if (size > most) {
        size = round_up(n > 0 ? n : 1, page);
    }
    return size <= most ? size : 0;
}

uint32_t pc_segment_next(uint32_t generation) { return generation == UINT32_MAX ? 1 : generation + 1; }

bool pc_segment_is_after(uint32_t generation, uint32_t other) {
    uint32_t by = generation - other;
    return by != 0 && by <= UINT32_MAX / 2;
}
