/* Typed reads over the token reader. A read that fails leaves the reader where it was. */

#include "reader.h"

/* One token that must be of the given type; otherwise the reader stays where it was. */
static enum pc_status next_of(struct pc_reader *r, enum pc_type type, struct pc_token *t) {
    const uint8_t *start = r->p;
    enum pc_status status = pc_reader_next(r, t);
    if (status == PC_OK && t->type != type) {
        r->p = start;
        return PC_WRONG_TYPE;
    }
    return status;
}

enum pc_status pc_read_array(struct pc_reader *r, uint32_t *count) {
    struct pc_token t;
    enum pc_status status = next_of(r, PC_ARRAY, &t);
    if (status == PC_OK) {
        *count = t.len;
    }
    return status;
}

enum pc_status pc_read_map(struct pc_reader *r, uint32_t *count) {
    struct pc_token t;
    enum pc_status status = next_of(r, PC_MAP, &t);
    if (status == PC_OK) {
        *count = t.len;
    }
    return status;
}

enum pc_status pc_read_int(struct pc_reader *r, int64_t *value) {
    struct pc_token t;
    enum pc_status status = next_of(r, PC_INT, &t);
    if (status == PC_OK) {
        *value = t.i;
    }
    return status;
}

enum pc_status pc_read_uint(struct pc_reader *r, uint64_t *value) {
    const uint8_t *start = r->p;
    struct pc_token t;
    enum pc_status status = pc_reader_next(r, &t);
    if (status != PC_OK) {
        return status;
    }
    if (t.type == PC_UINT || (t.type == PC_INT && t.i >= 0)) {
        *value = t.u;
        return PC_OK;
    }
    r->p = start;
    return PC_WRONG_TYPE;
}

enum pc_status pc_read_str(struct pc_reader *r, const char **utf8, uint32_t *n) {
    const uint8_t *start = r->p;
    struct pc_token t;
    enum pc_status status = next_of(r, PC_STR, &t);
    if (status != PC_OK) {
        return status;
    }
    if (!pc_utf8_valid(t.data, t.len)) {
        r->p = start;
        return PC_INVALID;
    }
    *utf8 = (const char *)t.data;
    *n = t.len;
    return PC_OK;
}

enum pc_status pc_read_bytes(struct pc_reader *r, const uint8_t **bytes, uint32_t *n) {
    const uint8_t *start = r->p;
    struct pc_token t;
    enum pc_status status = pc_reader_next(r, &t);
    if (status != PC_OK) {
        return status;
    }
    if (t.type != PC_STR && t.type != PC_BIN) {
        r->p = start;
        return PC_WRONG_TYPE;
    }
    *bytes = t.data;
    *n = t.len;
    return PC_OK;
}
