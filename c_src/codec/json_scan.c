/*
 * A first walk over JSON text: brackets and integers outside strings, escapes inside. Time is linear, memory constant; reads nothing at or
 * behind text + n.
 */

#include "json_scan.h"

#include <string.h>

enum {
    ESCAPE = 6,       /* strlen("\ud800") */
    MOST_DIGITS = 19, /* of a 64-bit integer */
    WIDENING = 2,     /* strlen(".0") */
};

/* Behind the quote that closes the string whose first character is at p; `end` if none does. */
static const char *skip_string(const char *p, const char *end) {
    const char *first = p;
    while (p < end) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (quote == NULL) {
            return end;
        }
        const char *run = quote;
        while (run > first && run[-1] == '\\') {
            run--;
        }
        p = quote + 1;
        if ((quote - run) % 2 == 0) {
            return p;
        }
    }
    return end;
}

bool pc_json_depth_within(const char *text, size_t n, unsigned most, size_t *position) {
    const char *p = text;
    const char *end = text + n;
    unsigned depth = 0;
    if (n <= most) {
        return true;
    }
    while (p < end) {
        switch (*p++) {
        case '"':
            p = skip_string(p, end);
            break;
        case '[':
        case '{':
            if (++depth > most) {
                *position = (size_t)(p - text);
                return false;
            }
            break;
        case ']':
        case '}':
            if (depth == 0) {
                return true; /* every parser stops here */
            }
            depth--;
            break;
        default:
            break;
        }
    }
    return true;
}

/* The code unit of the escape "\\uXXXX" at p, of which `left` bytes are there; -1 if there is none. */
static int code_unit(const char *p, size_t left) {
    int unit = 0;
    if (left < ESCAPE || p[0] != '\\' || p[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < ESCAPE; i++) {
        char c = (char)(p[i] | 0x20); /* lower case; digits stay as they are */
        if (c >= '0' && c <= '9' && p[i] == c) {
            unit = unit * 16 + (c - '0');
        } else if (c >= 'a' && c <= 'f') {
            unit = unit * 16 + (c - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

static bool is_high(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static bool is_low(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

/* Outside of strings no valid text has a backslash, so it does not matter where it stands. */
bool pc_json_surrogates_paired(const char *text, size_t n, size_t *position) {
    const char *p = text;
    const char *end = text + n;
    while ((p = memchr(p, '\\', (size_t)(end - p))) != NULL) {
        int unit = code_unit(p, (size_t)(end - p));
        if (is_high(unit) && is_low(code_unit(p + ESCAPE, (size_t)(end - p) - ESCAPE))) {
            p += 2 * ESCAPE;
        } else if (is_high(unit) || is_low(unit)) {
            *position = (size_t)(p - text) + ESCAPE;
            return false;
        } else {
            p += end - p < 2 ? 1 : 2; /* what is escaped may be a backslash */
        }
    }
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_number_part(char c) { return is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'; }

/* Whether the number is an integer, and one that does not fit. */
static bool is_big(const char *number, size_t n) {
    bool negative = number[0] == '-';
    const char *digits = number + (negative ? 1 : 0);
    size_t count = n - (negative ? 1 : 0);
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(digits[i])) {
            return false;
        }
    }
    if (count != MOST_DIGITS) {
        return count > MOST_DIGITS;
    }
    return memcmp(digits, negative ? "9223372036854775808" : "9223372036854775807", MOST_DIGITS) > 0;
}

size_t pc_json_next_big(const char *text, size_t n, size_t from) {
    const char *p = text + from;
    const char *end = text + n;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p + 1, end);
        } else if (*p == '-' || is_digit(*p)) {
            const char *number = p;
            while (p < end && is_number_part(*p)) {
                p++;
            }
            if (is_big(number, (size_t)(p - number))) {
                return (size_t)(p - text);
            }
        } else {
            p++;
        }
    }
    return 0;
}

size_t pc_json_count_big(const char *text, size_t n) {
    size_t count = 0;
    size_t end = 0;
    while ((end = pc_json_next_big(text, n, end)) != 0) {
        count++;
    }
    return count;
}

void pc_json_widen(const char *text, size_t n, char *out) {
    size_t from = 0;
    size_t end;
    while ((end = pc_json_next_big(text, n, from)) != 0) {
        memcpy(out, text + from, end - from);
        out += end - from;
        memcpy(out, ".0", WIDENING);
        out += WIDENING;
        from = end;
    }
    memcpy(out, text + from, n - from);
}

size_t pc_json_narrow(const char *text, size_t n, size_t position) {
    size_t shift = 0;
    size_t end = 0;
    while ((end = pc_json_next_big(text, n, end)) != 0 && position > end + shift) {
        if (position < end + shift + WIDENING) {
            return end;
        }
        shift += WIDENING;
    }
    return position - shift;
}

void pc_json_place(const char *text, size_t position, int *line, int *column) {
    *line = 1;
    *column = 0;
    for (size_t i = 0; i < position; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 0;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
    }
}
