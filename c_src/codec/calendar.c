/*
 * Days are counted in years that begin in March, so that a leap day is the last of its year, and in eras of 400 years,
 * which all have the same number of days.
 */

#include "calendar.h"

#include "big_endian.h"
#include "ext.h"

enum {
    DAY = 86400,
    ERA_YEARS = 400,
    ERA_DAYS = 146097,
    DAYS_TO_1970 = 719468, /* from the first of March of year 0 */
    NANOSECONDS = 1000000000,
};

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int64_t days_in_month(int64_t year, int64_t month) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

bool pc_civil_date_exists(const struct pc_civil *c) {
    return c->year >= PC_YEAR_FIRST && c->year <= PC_YEAR_LAST && c->month >= 1 && c->month <= 12 && c->day >= 1 &&
           c->day <= days_in_month(c->year, c->month);
}

bool pc_civil_time_exists(const struct pc_civil *c) {
    return c->hour >= 0 && c->hour <= 23 && c->minute >= 0 && c->minute <= 59 && c->second >= 0 && c->second <= 59 &&
           c->microsecond >= 0 && c->microsecond <= 999999 && c->precision >= 0 && c->precision <= 6;
}

int64_t pc_civil_to_seconds(const struct pc_civil *c) {
    int64_t year = c->month > 2 ? c->year : c->year - 1;
    int64_t era = floor_div(year, ERA_YEARS);
    int64_t of_era = year - era * ERA_YEARS;
    int64_t month = (c->month + 9) % 12;
    int64_t day = (153 * month + 2) / 5 + c->day - 1; /* of the year that began in March */
    int64_t days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day - DAYS_TO_1970;
    return days * DAY + c->hour * 3600 + c->minute * 60 + c->second;
}

bool pc_civil_from_seconds(int64_t seconds, struct pc_civil *c) {
    int64_t days = floor_div(seconds, DAY);
    int64_t rest = seconds - days * DAY;
    if (days > PC_YEAR_LAST * INT64_C(366) || days < PC_YEAR_FIRST * INT64_C(366) * 2) {
        return false; /* far outside, and nothing below can overflow */
    }
    days += DAYS_TO_1970;
    int64_t era = floor_div(days, ERA_DAYS);
    int64_t day = days - era * ERA_DAYS;
    int64_t year = (day - day / 1460 + day / 36524 - day / (ERA_DAYS - 1)) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153;
    c->day = day - (153 * month + 2) / 5 + 1;
    c->month = month < 10 ? month + 3 : month - 9;
    c->year = era * ERA_YEARS + year + (c->month <= 2);
    c->hour = rest / 3600;
    c->minute = rest / 60 % 60;
    c->second = rest % 60;
    return c->year >= PC_YEAR_FIRST && c->year <= PC_YEAR_LAST;
}

void pc_write_timestamp(struct pc_writer *w, struct pc_timestamp t) {
    uint8_t payload[12];
    bool fits34 = t.seconds >= 0 && t.seconds >> 34 == 0;
    if (fits34 && t.nanoseconds == 0 && t.seconds >> 32 == 0) {
        pc_store_be(payload, (uint64_t)t.seconds, 4);
        pc_write_ext(w, PC_EXT_TIMESTAMP, payload, 4);
    } else if (fits34) {
        pc_store_be(payload, (uint64_t)t.nanoseconds << 34 | (uint64_t)t.seconds, 8);
        pc_write_ext(w, PC_EXT_TIMESTAMP, payload, 8);
    } else {
        pc_store_be(payload, t.nanoseconds, 4);
        pc_store_be(payload + 4, (uint64_t)t.seconds, 8);
        pc_write_ext(w, PC_EXT_TIMESTAMP, payload, 12);
    }
}

bool pc_timestamp_read(const uint8_t *payload, size_t n, struct pc_timestamp *t) {
    switch (n) {
    case 4:
        *t = (struct pc_timestamp){.seconds = (int64_t)pc_load_be(payload, 4)};
        return true;
    case 8: {
        uint64_t both = pc_load_be(payload, 8);
        t->nanoseconds = (uint32_t)(both >> 34);
        t->seconds = (int64_t)(both & ((UINT64_C(1) << 34) - 1));
        break;
    }
    case 12:
        t->nanoseconds = (uint32_t)pc_load_be(payload, 4);
        t->seconds = (int64_t)pc_load_be(payload + 4, 8);
        break;
    default:
        return false;
    }
    return t->nanoseconds < NANOSECONDS;
}
