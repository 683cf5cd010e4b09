/* See segment_footer.h. Both elements have their widest header, so that the footer can be found from the end. */
#include "wire/segment_footer.h"

#include "codec/big_endian.h"
#include "codec/ext.h"

enum {
    BIN32 = 0xc6,
    UINT32 = 0xce,
    HEAD = 5, /* bytes of either header */
};

static void put_head(uint8_t *to, uint8_t type, uint32_t value) {
    to[0] = type;
    pc_store_be(to + 1, value, HEAD - 1);
}

static uint32_t head_value(const uint8_t *from) { return (uint32_t)pc_load_be(from + 1, HEAD - 1); }

void pc_segment_payload_write(struct pc_writer *w, enum pc_segment_kind kind, const struct pc_segment_name *name) {
    uint8_t payload[PC_SEGMENT_PAYLOAD] = {(uint8_t)kind};
    pc_segment_name_write(name, payload + 1);
    pc_write_ext(w, PC_EXT_SEGMENT, payload, sizeof payload);
}

void pc_segment_footer_write(struct pc_writer *w, const struct pc_segment_name *names, uint32_t count) {
    uint8_t *place = pc_writer_claim(w, 2 * HEAD + (size_t)count * PC_SEGMENT_NAME);
    if (place == NULL) {
        return;
    }
    put_head(place, BIN32, count * PC_SEGMENT_NAME);
    place += HEAD;
    for (uint32_t i = 0; i < count; i++) {
        pc_segment_name_write(&names[i], place);
        place += PC_SEGMENT_NAME;
    }
    put_head(place, UINT32, count);
}

bool pc_segment_footer_read(const uint8_t *payload, size_t n, struct pc_segment_footer *footer) {
    if (n < 2 * HEAD || payload[n - HEAD] != UINT32) {
        return false;
    }
    uint32_t count = head_value(payload + n - HEAD);
    size_t size = 2 * HEAD + (size_t)count * PC_SEGMENT_NAME;
    if (count == 0 || count > PC_SEGMENTS || n < size) {
        return false;
    }
    const uint8_t *start = payload + n - size;
    if (start[0] != BIN32 || head_value(start) != count * PC_SEGMENT_NAME) {
        return false;
    }
    *footer = (struct pc_segment_footer){.names = start + HEAD, .count = count, .size = size};
    return true;
}

void pc_segment_footer_name(const struct pc_segment_footer *footer, uint32_t i, struct pc_segment_name *name) {
    pc_segment_name_read(name, footer->names + (size_t)i * PC_SEGMENT_NAME);
}

void pc_views_refuse(struct pc_views *views, const struct pc_segment_footer *footer) {
    for (uint32_t i = 0; i < footer->count; i++) {
        struct pc_segment_name name;
        struct pc_view view;
        pc_segment_footer_name(footer, i, &name);
        if (pc_views_get(views, &name, &view) == PC_VIEW_OK) {
            pc_view_drop(&view);
        }
    }
}
