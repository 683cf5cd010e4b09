/*
 * datetime's C interface is imported when a value of it crosses for the first time: a value to encode exists only
 * where the module is there already.
 */

#include "times.h"

#include <datetime.h>

#include "codec/calendar.h"
#include "lazy.h"

enum { OTHER_TYPE = 1, SECOND_DIGITS = 6, ASIDE = 64 };

/* ---- Writing. The fields are packed aside, so that the header is the shortest. */

struct fields {
    uint8_t bytes[ASIDE];
    struct pc_writer w;
};

static void begin(struct fields *f, size_t n) {
    pc_writer_init(&f->w, f->bytes, sizeof f->bytes, sizeof f->bytes, NULL, NULL);
    pc_write_array(&f->w, n);
}

static void write_date_fields(struct pc_writer *w, PyObject *date) {
    pc_write_int(w, PyDateTime_GET_YEAR(date));
    pc_write_int(w, PyDateTime_GET_MONTH(date));
    pc_write_int(w, PyDateTime_GET_DAY(date));
}

static void write_time_fields(struct pc_writer *w, int hour, int minute, int second, int microsecond, int precision) {
    pc_write_int(w, hour);
    pc_write_int(w, minute);
    pc_write_int(w, second);
    pc_write_int(w, microsecond);
    pc_write_int(w, precision);
}

static int natural_precision(int microsecond) { return microsecond == 0 ? 0 : SECOND_DIGITS; }

/* -1 on failure: that of our subclasses is an attribute. */
static int precision_of(PyObject *value, enum pc_lazy subclass, int microsecond) {
    int is = pc_lazy_is(value, subclass);
    if (is <= 0) {
        return is < 0 ? -1 : natural_precision(microsecond);
    }
    PyObject *attribute = PyObject_GetAttrString(value, "precision");
    long precision = attribute == NULL ? -1 : PyLong_AsLong(attribute);
    Py_XDECREF(attribute);
    if (!PyErr_Occurred() && (precision < 0 || precision > SECOND_DIGITS)) {
        return pc_encode_fail("a precision is a number from 0 to 6");
    }
    return PyErr_Occurred() ? -1 : (int)precision;
}

static int write_date(struct pc_encoder *e, PyObject *date) {
    struct fields f;
    begin(&f, 3);
    write_date_fields(&f.w, date);
    pc_write_ext(e->w, PC_EXT_DATE, f.bytes, f.w.len);
    return 0;
}

static int write_time(struct pc_encoder *e, PyObject *time) {
    int microsecond = PyDateTime_TIME_GET_MICROSECOND(time);
    int precision = precision_of(time, PC_LAZY_TIME, microsecond);
    if (precision < 0) {
        return -1;
    }
    if (PyDateTime_TIME_GET_TZINFO(time) != Py_None) {
        return pc_encode_fail("a time with a time zone has no form on the wire; send a datetime");
    }
    struct fields f;
    begin(&f, 5);
    write_time_fields(&f.w, PyDateTime_TIME_GET_HOUR(time), PyDateTime_TIME_GET_MINUTE(time),
                      PyDateTime_TIME_GET_SECOND(time), microsecond, precision);
    pc_write_ext(e->w, PC_EXT_TIME, f.bytes, f.w.len);
    return 0;
}

static void write_moment_fields(struct pc_writer *w, PyObject *moment, int precision) {
    write_date_fields(w, moment);
    write_time_fields(w, PyDateTime_DATE_GET_HOUR(moment), PyDateTime_DATE_GET_MINUTE(moment),
                      PyDateTime_DATE_GET_SECOND(moment), PyDateTime_DATE_GET_MICROSECOND(moment), precision);
}

/* A moment that is so many seconds ahead of UTC. */
static void write_timestamp(struct pc_encoder *e, PyObject *moment, int64_t offset) {
    struct pc_civil civil = {
        .year = PyDateTime_GET_YEAR(moment),
        .month = PyDateTime_GET_MONTH(moment),
        .day = PyDateTime_GET_DAY(moment),
        .hour = PyDateTime_DATE_GET_HOUR(moment),
        .minute = PyDateTime_DATE_GET_MINUTE(moment),
        .second = PyDateTime_DATE_GET_SECOND(moment),
    };
    pc_write_timestamp(e->w, (struct pc_timestamp){
                                 .seconds = pc_civil_to_seconds(&civil) - offset,
                                 .nanoseconds = (uint32_t)PyDateTime_DATE_GET_MICROSECOND(moment) * 1000,
                             });
}

static int write_naive(struct pc_encoder *e, PyObject *moment, int precision) {
    struct fields f;
    begin(&f, 8);
    write_moment_fields(&f.w, moment, precision);
    pc_write_ext(e->w, PC_EXT_NAIVE_DATETIME, f.bytes, f.w.len);
    return 0;
}

struct zone {
    PyObject *owner; /* the tuple that the texts belong to */
    const char *name, *abbreviation;
    Py_ssize_t name_length, abbreviation_length;
    long utc_offset, std_offset;
    int is_utc;
};

static int describe_zone(PyObject *moment, struct zone *z) {
    PyObject *describe = pc_lazy_get(PC_LAZY_DESCRIBE_ZONE);
    z->owner = describe == NULL ? NULL : PyObject_CallOneArg(describe, moment);
    if (z->owner != NULL && !PyArg_ParseTuple(z->owner, "s#s#llp", &z->name, &z->name_length, &z->abbreviation,
                                              &z->abbreviation_length, &z->utc_offset, &z->std_offset, &z->is_utc)) {
        Py_CLEAR(z->owner);
    }
    return z->owner == NULL ? -1 : 0;
}

static void write_zoned(struct pc_encoder *e, PyObject *moment, int precision, const struct zone *z) {
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, 12);
    write_moment_fields(e->w, moment, precision);
    pc_write_str(e->w, z->name, (size_t)z->name_length);
    pc_write_str(e->w, z->abbreviation, (size_t)z->abbreviation_length);
    pc_write_int(e->w, z->utc_offset);
    pc_write_int(e->w, z->std_offset);
    pc_write_ext_end(e->w, mark, PC_EXT_DATETIME);
}

static int write_aware(struct pc_encoder *e, PyObject *moment, int precision) {
    bool natural = precision == natural_precision(PyDateTime_DATE_GET_MICROSECOND(moment));
    if (natural && PyDateTime_DATE_GET_TZINFO(moment) == PyDateTime_TimeZone_UTC) {
        write_timestamp(e, moment, 0);
        return 0;
    }
    struct zone z;
    if (describe_zone(moment, &z) < 0) {
        return -1;
    }
    if (e->opts->plain || (natural && z.is_utc)) {
        write_timestamp(e, moment, z.utc_offset + z.std_offset);
    } else {
        write_zoned(e, moment, precision, &z);
    }
    Py_DECREF(z.owner);
    return 0;
}

static int write_moment(struct pc_encoder *e, PyObject *moment) {
    int precision = precision_of(moment, PC_LAZY_DATETIME, PyDateTime_DATE_GET_MICROSECOND(moment));
    if (precision < 0) {
        return -1;
    }
    if (PyDateTime_DATE_GET_TZINFO(moment) != Py_None) {
        return write_aware(e, moment, precision);
    }
    if (e->opts->plain) {
        return pc_encode_fail("a datetime without a time zone is no point in time; give it one: .astimezone()");
    }
    return write_naive(e, moment, precision);
}

/* Whether there can be values of datetime's at all. */
static int is_imported(void) {
    static PyObject *name;
    if (PyDateTimeAPI != NULL) {
        return 1;
    }
    if (name == NULL) {
        name = PyUnicode_InternFromString("datetime");
    }
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    if (module == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_DECREF(module);
    PyDateTime_IMPORT;
    return PyDateTimeAPI == NULL ? -1 : 1;
}

/* pandas' own moments have nanoseconds, and one of them is none: not ours, though subclasses. -1 on error. */
static int is_foreign(PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    PyDateTime_CAPI *api = PyDateTimeAPI;
    if (type == api->DateTimeType || type == api->DateType || type == api->TimeType) {
        return 0;
    }
    PyObject *name = pc_type_name(type);
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    int foreign = text == NULL ? -1 : strncmp(text, "pandas.", strlen("pandas.")) == 0;
    Py_XDECREF(name);
    return foreign;
}

static int write_known(struct pc_encoder *e, PyObject *value) {
    if (PyDateTime_Check(value)) {
        return write_moment(e, value);
    }
    return PyDate_Check(value) ? write_date(e, value) : write_time(e, value);
}

int pc_time_write(struct pc_encoder *e, PyObject *value) {
    int there = is_imported();
    if (there <= 0) {
        return there < 0 ? -1 : OTHER_TYPE;
    }
    bool ours =
        e->opts->plain ? e->opts->datetime && PyDateTime_Check(value) : PyDate_Check(value) || PyTime_Check(value);
    int foreign = ours ? is_foreign(value) : 1;
    return foreign == 0 ? write_known(e, value) : foreign < 0 ? -1 : OTHER_TYPE;
}
