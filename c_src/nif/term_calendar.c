/*
 * Dates and times. Elixir's fields are taken as they are, so that what comes back is equal, with its precision and its
 * zone; only what does not exist in the calendar is refused.
 */

#include <string.h>

#include "atoms.h"
#include "codec/calendar.h"
#include "codec/ext.h"
#include "term_private.h"

enum {
    DATE_FIELDS = 3,
    CLOCK_FIELDS = 4, /* the last one is a pair */
    ZONE_FIELDS = 4,
    LAST_DIGIT = 6,
    MOST_BYTES = 32, /* of a payload without a zone: the array's header, a year of 3, a fraction of 5, six of 1 */
};

/* Where the fields of each kind begin in the struct, behind the calendar; 0 if there are none. */
struct layout {
    const char *name;
    int8_t ext;
    unsigned date;
    unsigned clock;
    unsigned zone;
};

static const struct layout *layout_of(enum pc_struct which) {
    static const struct layout layouts[] = {
        {"Date", PC_EXT_DATE, 1, 0, 0},
        {"Time", PC_EXT_TIME, 0, 1, 0},
        {"NaiveDateTime", PC_EXT_NAIVE_DATETIME, 1, 1 + DATE_FIELDS, 0},
        {"DateTime", PC_EXT_DATETIME, 1, 1 + DATE_FIELDS, 1 + DATE_FIELDS + CLOCK_FIELDS},
    };
    return &layouts[which - PC_STRUCT_DATE];
}

struct zone {
    ErlNifBinary name;
    ErlNifBinary abbreviation;
    int64_t utc_offset;
    int64_t std_offset;
};

static bool get_int(ErlNifEnv *env, ERL_NIF_TERM term, int64_t *value) {
    ErlNifSInt64 i;
    bool got = enif_get_int64(env, term, &i) != 0;
    *value = got ? i : 0;
    return got;
}

static bool get_date(ErlNifEnv *env, const ERL_NIF_TERM f[DATE_FIELDS], struct pc_civil *c) {
    return get_int(env, f[0], &c->year) && get_int(env, f[1], &c->month) && get_int(env, f[2], &c->day) &&
           pc_civil_date_exists(c);
}

static bool get_clock(ErlNifEnv *env, const ERL_NIF_TERM f[CLOCK_FIELDS], struct pc_civil *c) {
    const ERL_NIF_TERM *fraction;
    int arity;
    return get_int(env, f[0], &c->hour) && get_int(env, f[1], &c->minute) && get_int(env, f[2], &c->second) &&
           enif_get_tuple(env, f[3], &arity, &fraction) && arity == 2 && get_int(env, fraction[0], &c->microsecond) &&
           get_int(env, fraction[1], &c->precision) && pc_civil_time_exists(c);
}

static bool get_text(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *text) {
    return enif_inspect_binary(env, term, text) && pc_utf8_valid(text->data, text->size);
}

static bool get_zone(ErlNifEnv *env, const ERL_NIF_TERM f[ZONE_FIELDS], struct zone *zone) {
    return get_text(env, f[0], &zone->name) && get_text(env, f[1], &zone->abbreviation) &&
           get_int(env, f[2], &zone->utc_offset) && get_int(env, f[3], &zone->std_offset);
}

static bool is_text(const ErlNifBinary *text, const char *expected) {
    size_t n = strlen(expected);
    return text->size == n && memcmp(text->data, expected, n) == 0;
}

/* Whether MessagePack's own timestamp says it all. */
static bool is_timestamp(const struct pc_civil *c, const struct zone *zone) {
    bool utc = is_text(&zone->name, "Etc/UTC") && is_text(&zone->abbreviation, "UTC") && zone->utc_offset == 0 &&
               zone->std_offset == 0;
    return utc && ((c->precision == 0 && c->microsecond == 0) || (c->precision == LAST_DIGIT && c->microsecond != 0));
}

static void write_date(struct pc_writer *w, const struct pc_civil *c) {
    pc_write_int(w, c->year);
    pc_write_int(w, c->month);
    pc_write_int(w, c->day);
}

static void write_clock(struct pc_writer *w, const struct pc_civil *c) {
    pc_write_int(w, c->hour);
    pc_write_int(w, c->minute);
    pc_write_int(w, c->second);
    pc_write_int(w, c->microsecond);
    pc_write_int(w, c->precision);
}

static void write_zone(struct pc_writer *w, const struct zone *zone) {
    pc_write_str(w, zone->name.data, zone->name.size);
    pc_write_str(w, zone->abbreviation.data, zone->abbreviation.size);
    pc_write_int(w, zone->utc_offset);
    pc_write_int(w, zone->std_offset);
}

/* Elements of the payload: the clock's fraction is two of them. */
static unsigned count_of(const struct layout *l) {
    return (l->date > 0 ? DATE_FIELDS : 0U) + (l->clock > 0 ? CLOCK_FIELDS + 1U : 0U) +
           (l->zone > 0 ? ZONE_FIELDS : 0U);
}

static void write_fields(struct pc_writer *w, const struct layout *l, const struct pc_civil *c) {
    pc_write_array(w, count_of(l));
    if (l->date > 0) {
        write_date(w, c);
    }
    if (l->clock > 0) {
        write_clock(w, c);
    }
}

/* Without a zone the payload is a few bytes, and gets the shortest header. */
static void write_parts(struct pc_writer *w, const struct layout *l, const struct pc_civil *c,
                        const struct zone *zone) {
    uint8_t bytes[MOST_BYTES];
    struct pc_writer aside;
    if (l->zone > 0) {
        size_t mark = pc_write_ext_begin(w);
        write_fields(w, l, c);
        write_zone(w, zone);
        pc_write_ext_end(w, mark, l->ext);
    } else {
        pc_writer_init(&aside, bytes, sizeof bytes, sizeof bytes, NULL, NULL);
        write_fields(&aside, l, c);
        pc_write_ext(w, l->ext, bytes, aside.len);
    }
}

enum pc_status pc_term_write_calendar(ErlNifEnv *env, struct pc_writer *w, enum pc_struct which,
                                      const ERL_NIF_TERM fields[], struct pc_term_error *err) {
    const struct layout *l = layout_of(which);
    struct pc_civil c = {0};
    struct zone zone = {0};
    if (fields[0] != am_iso_calendar) {
        return pc_term_fail(env, err, PC_INVALID, "a %s in a calendar other than Calendar.ISO; convert it first",
                            l->name);
    }
    if ((l->date > 0 && !get_date(env, fields + l->date, &c)) ||
        (l->clock > 0 && !get_clock(env, fields + l->clock, &c)) ||
        (l->zone > 0 && !get_zone(env, fields + l->zone, &zone))) {
        return pc_term_fail(env, err, PC_INVALID, "a %s that does not exist", l->name);
    }
    if (l->zone > 0 && is_timestamp(&c, &zone)) {
        struct pc_timestamp t = {pc_civil_to_seconds(&c), (uint32_t)c.microsecond * 1000};
        pc_write_timestamp(w, t);
    } else {
        write_parts(w, l, &c, &zone);
    }
    return PC_OK;
}

static bool read_date(struct pc_reader *r, struct pc_civil *c) {
    return pc_read_int(r, &c->year) == PC_OK && pc_read_int(r, &c->month) == PC_OK &&
           pc_read_int(r, &c->day) == PC_OK && pc_civil_date_exists(c);
}

static bool read_clock(struct pc_reader *r, struct pc_civil *c) {
    return pc_read_int(r, &c->hour) == PC_OK && pc_read_int(r, &c->minute) == PC_OK &&
           pc_read_int(r, &c->second) == PC_OK && pc_read_int(r, &c->microsecond) == PC_OK &&
           pc_read_int(r, &c->precision) == PC_OK && pc_civil_time_exists(c);
}

static bool read_text(ErlNifEnv *env, struct pc_reader *r, ERL_NIF_TERM *term) {
    const char *text;
    uint32_t n;
    return pc_read_str(r, &text, &n) == PC_OK && pc_term_make_binary(env, text, n, term);
}

static bool read_zone(ErlNifEnv *env, struct pc_reader *r, ERL_NIF_TERM f[ZONE_FIELDS]) {
    int64_t utc_offset;
    int64_t std_offset;
    if (!read_text(env, r, &f[0]) || !read_text(env, r, &f[1]) || pc_read_int(r, &utc_offset) != PC_OK ||
        pc_read_int(r, &std_offset) != PC_OK) {
        return false;
    }
    f[2] = enif_make_int64(env, utc_offset);
    f[3] = enif_make_int64(env, std_offset);
    return true;
}

static void make_date(ErlNifEnv *env, const struct pc_civil *c, ERL_NIF_TERM f[DATE_FIELDS]) {
    f[0] = enif_make_int64(env, c->year);
    f[1] = enif_make_int64(env, c->month);
    f[2] = enif_make_int64(env, c->day);
}

static void make_clock(ErlNifEnv *env, const struct pc_civil *c, ERL_NIF_TERM f[CLOCK_FIELDS]) {
    f[0] = enif_make_int64(env, c->hour);
    f[1] = enif_make_int64(env, c->minute);
    f[2] = enif_make_int64(env, c->second);
    f[3] = enif_make_tuple2(env, enif_make_int64(env, c->microsecond), enif_make_int64(env, c->precision));
}

enum pc_status pc_term_read_calendar(ErlNifEnv *env, enum pc_struct which, const uint8_t *payload, uint32_t n,
                                     ERL_NIF_TERM *term) {
    const struct layout *l = layout_of(which);
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS] = {am_iso_calendar};
    struct pc_civil c;
    struct pc_reader r;
    uint32_t count;
    pc_reader_init(&r, payload, n);
    if (pc_read_array(&r, &count) != PC_OK || count != count_of(l) || (l->date > 0 && !read_date(&r, &c)) ||
        (l->clock > 0 && !read_clock(&r, &c)) || (l->zone > 0 && !read_zone(env, &r, fields + l->zone)) ||
        pc_reader_left(&r) > 0) {
        return PC_INVALID;
    }
    if (l->date > 0) {
        make_date(env, &c, fields + l->date);
    }
    if (l->clock > 0) {
        make_clock(env, &c, fields + l->clock);
    }
    return pc_struct_make(env, which, fields, term) ? PC_OK : PC_NO_MEMORY;
}

enum pc_status pc_term_read_timestamp(ErlNifEnv *env, const uint8_t *payload, uint32_t n, ERL_NIF_TERM *term) {
    const struct layout *l = layout_of(PC_STRUCT_DATETIME);
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS] = {am_iso_calendar};
    ERL_NIF_TERM *zone = fields + l->zone;
    struct pc_timestamp t;
    struct pc_civil c;
    if (!pc_timestamp_read(payload, n, &t)) {
        return PC_INVALID;
    }
    if (t.nanoseconds % 1000 != 0 || !pc_civil_from_seconds(t.seconds, &c)) {
        return PC_WRONG_TYPE;
    }
    c.microsecond = t.nanoseconds / 1000;
    c.precision = t.nanoseconds == 0 ? 0 : LAST_DIGIT;
    make_date(env, &c, fields + l->date);
    make_clock(env, &c, fields + l->clock);
    zone[2] = zone[3] = enif_make_int(env, 0);
    bool made = pc_term_make_binary(env, "Etc/UTC", 7, &zone[0]) && pc_term_make_binary(env, "UTC", 3, &zone[1]) &&
                pc_struct_make(env, PC_STRUCT_DATETIME, fields, term);
    return made ? PC_OK : PC_NO_MEMORY;
}
