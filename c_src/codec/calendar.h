#ifndef PC_CODEC_CALENDAR_H
#define PC_CODEC_CALENDAR_H

/*
 * The proleptic Gregorian calendar, as far as extensions 5 to 8 and MessagePack's own timestamp need it. Python's years
 * are those from 1 to 9999, Elixir's reach back to -9999.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "writer.h"

enum {
    PC_YEAR_FIRST = -9999,
    PC_YEAR_LAST = 9999,
};

/* A date and a time of day. `precision` is how many digits of the fraction count, 0 to 6. */
struct pc_civil {
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t microsecond;
    int64_t precision;
};

/* Seconds since 1970-01-01 00:00:00 UTC without leap seconds, and 0 to 999,999,999 nanoseconds. */
struct pc_timestamp {
    int64_t seconds;
    uint32_t nanoseconds;
};

/* Whether the fields of the date, or of the time of day, exist; the other fields are not looked at. */
bool pc_civil_date_exists(const struct pc_civil *civil);
bool pc_civil_time_exists(const struct pc_civil *civil);

/* The seconds of an existing date and time in UTC. */
int64_t pc_civil_to_seconds(const struct pc_civil *civil);

/* The other way, for all but microsecond and precision; false if the year is none of ours. */
bool pc_civil_from_seconds(int64_t seconds, struct pc_civil *civil);

/* Extension -1, in the shortest of its three forms. */
void pc_write_timestamp(struct pc_writer *w, struct pc_timestamp t);

/* Its payload; false if the length is none of 4, 8 and 12, or there are too many nanoseconds. */
bool pc_timestamp_read(const uint8_t *payload, size_t n, struct pc_timestamp *t);

#endif
