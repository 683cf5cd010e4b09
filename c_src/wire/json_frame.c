/*
 * Reading and writing the numbers that a JSON frame begins with. Reads nothing at or behind payload + n; allocates nothing of
 * its own.
 */
#include "wire/json_frame.h"

#include <inttypes.h>
#include <stdio.h>

struct cursor {
    const uint8_t *p;
    const uint8_t *end;
};

static bool take(struct cursor *c, uint8_t wanted) {
    if (c->p == c->end || *c->p != wanted) {
        return false;
    }
    c->p++;
    return true;
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Digits that stand for at most `most`. */
static bool take_number(struct cursor *c, uint64_t most, uint64_t *number) {
    const uint8_t *first = c->p;
    uint64_t value = 0;
    while (c->p < c->end && is_digit(*c->p)) {
        uint64_t digit = (uint64_t)(*c->p - '0');
        if (value > (most - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        c->p++;
    }
    *number = value;
    return c->p > first && (*first != '0' || c->p - first == 1);
}

bool pc_json_head_read(const uint8_t *payload, size_t n, struct pc_json_head *head) {
    struct cursor c = {payload, payload + n};
    uint64_t kind;
    if (!take(&c, '[') || !take_number(&c, INT64_MAX, &kind) || !take(&c, ',') ||
        !take_number(&c, UINT64_MAX, &head->id) || c.p == c.end || (*c.p != ',' && *c.p != ']')) {
        return false;
    }
    head->kind = (int64_t)kind;
    head->end = (size_t)(c.p - payload);
    return true;
}

bool pc_json_answer_read(const uint8_t *payload, size_t n, const struct pc_json_head *head,
                         struct pc_json_answer *answer) {
    struct cursor c = {payload + head->end, payload + n};
    uint64_t python_ns;
    if (!take(&c, ',') || !take_number(&c, INT64_MAX, &python_ns) || !take(&c, ',') || c.end - c.p < 2 ||
        c.end[-1] != ']') {
        return false;
    }
    *answer = (struct pc_json_answer){.python_ns = (int64_t)python_ns, .value = c.p, .size = (size_t)(c.end - c.p) - 1};
    return true;
}

static void write_number(struct pc_writer *w, uint64_t number) {
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64 ",", number);
    pc_writer_append(w, text, (size_t)n);
}

void pc_json_head_write(struct pc_writer *w, int64_t kind, uint64_t id) {
    pc_json_put(w, "[");
    write_number(w, (uint64_t)kind);
    write_number(w, id);
}

void pc_json_answer_write(struct pc_writer *w, int64_t kind, uint64_t id, int64_t python_ns) {
    pc_json_head_write(w, kind, id);
    write_number(w, (uint64_t)python_ns);
}
