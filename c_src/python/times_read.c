/* See times.h. Fields are checked before Python is asked, so that what is refused is refused with our words. */

#include "times.h"

#include <datetime.h>

#include "codec/calendar.h"
#include "codec/ext.h"
#include "lazy.h"

enum { SECOND_DIGITS = 6, PYTHON_YEAR_FIRST = 1, MICROSECOND = 1000, DAY = 86400 };

static PyObject *invalid(const char *reason) {
    PyErr_SetString(pc_DecodeError, reason);
    return NULL;
}

static int import(void) {
    if (PyDateTimeAPI == NULL) {
        PyDateTime_IMPORT;
    }
    return PyDateTimeAPI == NULL ? -1 : 0;
}

/* ---- Fields */

static bool read_ints(struct pc_reader *r, int64_t *const *numbers, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (pc_read_int(r, numbers[i]) != PC_OK) {
            return false;
        }
    }
    return true;
}

static bool read_date_fields(struct pc_reader *r, struct pc_civil *c) {
    int64_t *const numbers[] = {&c->year, &c->month, &c->day};
    return read_ints(r, numbers, 3) && pc_civil_date_exists(c);
}

static bool read_time_fields(struct pc_reader *r, struct pc_civil *c) {
    int64_t *const numbers[] = {&c->hour, &c->minute, &c->second, &c->microsecond, &c->precision};
    return read_ints(r, numbers, 5) && pc_civil_time_exists(c);
}

static bool is_array_of(struct pc_reader *r, uint32_t n) {
    uint32_t count;
    return pc_read_array(r, &count) == PC_OK && count == n;
}

static int check_year(const struct pc_civil *c) {
    if (c->year < PYTHON_YEAR_FIRST) {
        PyErr_Format(pc_DecodeError, "a date in the year %d: Python's years are those from 1 to 9999", (int)c->year);
        return -1;
    }
    return 0;
}

/* Whether Python's own types would give the same precision back. */
static bool is_natural(const struct pc_civil *c) { return c->precision == (c->microsecond == 0 ? 0 : SECOND_DIGITS); }

/* ---- Values */

static PyObject *read_date(struct pc_reader *r) {
    struct pc_civil c;
    if (!is_array_of(r, 3) || !read_date_fields(r, &c) || pc_reader_left(r) > 0) {
        return invalid("a date that does not exist");
    }
    return check_year(&c) < 0 ? NULL : PyDate_FromDate((int)c.year, (int)c.month, (int)c.day);
}

static PyObject *read_time(struct pc_reader *r) {
    struct pc_civil c;
    if (!is_array_of(r, 5) || !read_time_fields(r, &c) || pc_reader_left(r) > 0) {
        return invalid("a time that does not exist");
    }
    if (is_natural(&c)) {
        return PyTime_FromTime((int)c.hour, (int)c.minute, (int)c.second, (int)c.microsecond);
    }
    PyObject *make = pc_lazy_get(PC_LAZY_MAKE_TIME);
    return make == NULL ? NULL
                        : PyObject_CallFunction(make, "iiiii", (int)c.hour, (int)c.minute, (int)c.second,
                                                (int)c.microsecond, (int)c.precision);
}

static PyObject *make_moment(const struct pc_civil *c, PyObject *tzinfo) {
    return PyDateTimeAPI->DateTime_FromDateAndTime((int)c->year, (int)c->month, (int)c->day, (int)c->hour,
                                                   (int)c->minute, (int)c->second, (int)c->microsecond, tzinfo,
                                                   PyDateTimeAPI->DateTimeType);
}

/* A naive moment whose precision is that of a subclass, if need be. */
static PyObject *make_naive(const struct pc_civil *c) {
    PyObject *moment = make_moment(c, Py_None);
    if (moment == NULL || is_natural(c)) {
        return moment;
    }
    PyObject *make = pc_lazy_get(PC_LAZY_MAKE_DATETIME);
    PyObject *precise = make == NULL ? NULL : PyObject_CallFunction(make, "Oi", moment, (int)c->precision);
    Py_DECREF(moment);
    return precise;
}

static PyObject *read_naive(struct pc_reader *r) {
    struct pc_civil c;
    if (!is_array_of(r, 8) || !read_date_fields(r, &c) || !read_time_fields(r, &c) || pc_reader_left(r) > 0) {
        return invalid("a date and time that does not exist");
    }
    return check_year(&c) < 0 ? NULL : make_naive(&c);
}

static PyObject *read_zoned(struct pc_reader *r) {
    struct pc_civil c;
    const char *zone, *abbreviation;
    uint32_t zone_length, abbreviation_length;
    int64_t utc_offset, std_offset;
    if (!is_array_of(r, 12) || !read_date_fields(r, &c) || !read_time_fields(r, &c) ||
        pc_read_str(r, &zone, &zone_length) != PC_OK || pc_read_str(r, &abbreviation, &abbreviation_length) != PC_OK ||
        pc_read_int(r, &utc_offset) != PC_OK || pc_read_int(r, &std_offset) != PC_OK || pc_reader_left(r) > 0) {
        return invalid("a date and time with a time zone that does not exist");
    }
    /* Each alone first, so that the sum cannot overflow. */
    if (utc_offset <= -DAY || utc_offset >= DAY || std_offset <= -DAY || std_offset >= DAY ||
        utc_offset + std_offset <= -DAY || utc_offset + std_offset >= DAY) {
        return invalid("a time zone that is a day or more away from UTC");
    }
    if (check_year(&c) < 0) {
        return NULL;
    }
    PyObject *moment = make_moment(&c, Py_None);
    PyObject *make = moment == NULL ? NULL : pc_lazy_get(PC_LAZY_MAKE_ZONED);
    PyObject *zoned =
        make == NULL ? NULL
                     : PyObject_CallFunction(make, "Ois#s#LL", moment, (int)c.precision, zone, (Py_ssize_t)zone_length,
                                             abbreviation, (Py_ssize_t)abbreviation_length, (long long)utc_offset,
                                             (long long)std_offset);
    Py_XDECREF(moment);
    return zoned;
}

PyObject *pc_time_read(int8_t type, const uint8_t *payload, uint32_t n) {
    struct pc_reader r;
    pc_reader_init(&r, payload, n);
    if (import() < 0) {
        return NULL;
    }
    switch (type) {
    case PC_EXT_DATE:
        return read_date(&r);
    case PC_EXT_TIME:
        return read_time(&r);
    case PC_EXT_NAIVE_DATETIME:
        return read_naive(&r);
    default:
        return read_zoned(&r);
    }
}

/* ---- Timestamps */

static PyObject *as_datetime(const struct pc_timestamp *t) {
    struct pc_civil c;
    if (t->nanoseconds % MICROSECOND != 0) {
        return invalid("a timestamp with nanoseconds, which a datetime has no place for");
    }
    if (!pc_civil_from_seconds(t->seconds, &c) || c.year < PYTHON_YEAR_FIRST) {
        return invalid("a timestamp outside the years from 1 to 9999, which are Python's");
    }
    c.microsecond = t->nanoseconds / MICROSECOND;
    return import() < 0 ? NULL : make_moment(&c, PyDateTime_TimeZone_UTC);
}

static PyObject *as_nanoseconds(const struct pc_timestamp *t) {
    PyObject *seconds = PyLong_FromLongLong(t->seconds);
    PyObject *factor = PyLong_FromLong(1000000000), *rest = PyLong_FromUnsignedLong(t->nanoseconds);
    PyObject *product = seconds == NULL || factor == NULL ? NULL : PyNumber_Multiply(seconds, factor);
    PyObject *sum = product == NULL || rest == NULL ? NULL : PyNumber_Add(product, rest);
    Py_XDECREF(seconds);
    Py_XDECREF(factor);
    Py_XDECREF(rest);
    Py_XDECREF(product);
    return sum;
}

static PyObject *as_timestamp(const struct pc_timestamp *t) {
    PyObject *class = pc_lazy_get(PC_LAZY_TIMESTAMP);
    return class == NULL ? NULL
                         : PyObject_CallFunction(class, "Lk", (long long)t->seconds, (unsigned long)t->nanoseconds);
}

PyObject *pc_time_read_timestamp(enum pc_timestamps form, const uint8_t *payload, uint32_t n) {
    struct pc_timestamp t;
    if (!pc_timestamp_read(payload, n, &t)) {
        return invalid("a timestamp that is not 4, 8 or 12 bytes with less than a second of nanoseconds");
    }
    switch (form) {
    case PC_TIMESTAMPS_OBJECT:
        return as_timestamp(&t);
    case PC_TIMESTAMPS_FLOAT:
        return PyFloat_FromDouble((double)t.seconds + (double)t.nanoseconds / 1e9);
    case PC_TIMESTAMPS_NANOSECONDS:
        return as_nanoseconds(&t);
    case PC_TIMESTAMPS_DATETIME:
        break;
    }
    return as_datetime(&t);
}
