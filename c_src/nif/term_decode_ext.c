/*
 * Extensions to terms. A payload that holds MessagePack is read by a reader of its own, so nothing in it can reach past its
 * end; and that a payload ends too early is no sign that more input would help.
 */

#include "atoms.h"
#include "codec/ext.h"
#include "parcel.h"
#include "refs.h"
#include "term_decoder.h"

enum {
    MOST_ARITY = (1 << 24) - 1,
    LARGE_MAP = 32,
    /* In units. */
    BIGINT_COST = 10,
    STRUCT_COST = 10,
    ELEMENT_COST = 3, /* of a large set */
    OPAQUE_COST = 30,
    OPAQUE_BYTES_PER_UNIT = 4, /* a byte may become a word */
};

struct payload {
    struct pc_reader r;
    struct pc_reader *outer;
    uint64_t owed;
};

/* Reads on in the payload of a token. The elements that its container waits for must come behind it. */
static enum pc_status enter_payload(struct decoder *d, const struct pc_token *t, struct payload *p) {
    p->outer = d->r;
    p->owed = d->owed;
    if (d->owed - 1 > pc_reader_left(d->r)) {
        return failed(d, PC_TRUNCATED);
    }
    pc_reader_init(&p->r, t->data, t->len);
    d->r = &p->r;
    d->owed = 1;
    return PC_OK;
}

static enum pc_status leave_payload(struct decoder *d, const struct payload *p, enum pc_status status,
                                    const char *what) {
    if (status == PC_OK && pc_reader_left(d->r) > 0) {
        status = pc_term_fail(d->env, d->err, PC_INVALID, "%s with bytes behind its payload", what);
    }
    if (status == PC_TRUNCATED) {
        status = d->err->status = PC_INVALID;
    }
    d->r = p->outer;
    d->owed = p->owed;
    return status;
}

/* An array of at most `most`, which is then full and on top; the caller makes what it is to be, and closes it. */
static enum pc_status decode_array(struct decoder *d, uint32_t most, const char *what) {
    struct pc_token t;
    enum pc_status status = pc_reader_next(d->r, &t);
    if (status != PC_OK) {
        return failed(d, status);
    }
    if (t.type != PC_ARRAY || t.len > most) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "%s whose payload is not an array of at most %u elements", what,
                            most);
    }
    status = pc_term_open(d, t.len, false);
    return status == PC_OK ? pc_term_fill(d) : status;
}

static const struct level *top_level(const struct decoder *d) { return &d->levels[d->depth - 1]; }

static enum pc_status decode_tuple(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    struct payload p;
    enum pc_status status = enter_payload(d, t, &p);
    if (status != PC_OK) {
        return status;
    }
    status = decode_array(d, MOST_ARITY, "a tuple");
    if (status == PC_OK) {
        const struct level *l = top_level(d);
        *term = enif_make_tuple_from_array(d->env, d->terms + l->base, l->n);
        close_top(d);
    }
    return leave_payload(d, &p, status, "a tuple");
}

/* A MapSet is a map from its elements to empty lists. */
static enum pc_status make_set(struct decoder *d, ERL_NIF_TERM *elements, uint32_t n, ERL_NIF_TERM *term) {
    ERL_NIF_TERM map;
    if (n > LARGE_MAP) {
        d->units -= ELEMENT_COST * (int64_t)n;
        if (is_time_up(d)) {
            return PC_BUDGET;
        }
    }
    ERL_NIF_TERM *values = enif_alloc((n > 0 ? n : 1) * sizeof *values);
    if (values == NULL) {
        return failed(d, PC_NO_MEMORY);
    }
    ERL_NIF_TERM empty = enif_make_list_from_array(d->env, NULL, 0);
    for (uint32_t i = 0; i < n; i++) {
        values[i] = empty;
    }
    bool made =
        pc_term_make_map(d->env, elements, values, n, &map) && pc_struct_make(d->env, PC_STRUCT_SET, &map, term);
    enif_free(values);
    return made ? PC_OK : failed(d, PC_NO_MEMORY);
}

static enum pc_status decode_set(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    struct payload p;
    enum pc_status status = enter_payload(d, t, &p);
    if (status != PC_OK) {
        return status;
    }
    status = decode_array(d, UINT32_MAX, "a set");
    if (status == PC_OK) {
        const struct level *l = top_level(d);
        status = make_set(d, d->terms + l->base, l->n, term);
        close_top(d);
    } else if (status != PC_BUDGET) {
        (void)pc_term_stop_here(d->env, d->err, "in an element");
    }
    return leave_payload(d, &p, status, "a set");
}

/* An integer that is not negative, or "NaN" or "inf". */
static enum pc_status read_coefficient(struct decoder *d, ERL_NIF_TERM *term) {
    struct pc_token t = {.type = PC_NIL};
    if (pc_reader_next(d->r, &t) != PC_OK) {
        return PC_INVALID;
    }
    if (t.type == PC_INT && t.i >= 0) {
        *term = enif_make_int64(d->env, t.i);
        return PC_OK;
    }
    if (t.type == PC_UINT) {
        *term = enif_make_uint64(d->env, t.u);
        return PC_OK;
    }
    if (t.type == PC_STR && t.len == 3 && (memcmp(t.data, "NaN", 3) == 0 || memcmp(t.data, "inf", 3) == 0)) {
        *term = t.data[0] == 'N' ? am_NaN : am_inf;
        return PC_OK;
    }
    bool is_bigint = t.type == PC_EXT && t.ext == PC_EXT_BIGINT && t.len > 0 && t.data[0] == 0;
    d->units -= BIGINT_COST + t.len / PC_COPIED_PER_UNIT;
    return is_bigint && pc_term_read_bigint(d->env, t.data, t.len, term) ? PC_OK : PC_INVALID;
}

static enum pc_status decode_decimal(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    struct payload p;
    uint32_t n;
    int64_t sign;
    int64_t exp;
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS];
    if (d->budget != NULL && t->len > PC_HUGE_INTEGER) {
        return PC_BUDGET;
    }
    enum pc_status status = enter_payload(d, t, &p);
    if (status != PC_OK) {
        return status;
    }
    if (pc_read_array(d->r, &n) != PC_OK || n != 3 || pc_read_int(d->r, &sign) != PC_OK || (sign != 1 && sign != -1) ||
        read_coefficient(d, &fields[1]) != PC_OK || pc_read_int(d->r, &exp) != PC_OK) {
        status = pc_term_fail(d->env, d->err, PC_INVALID, "a decimal that is not well formed");
    } else {
        fields[0] = enif_make_int64(d->env, sign);
        fields[2] = enif_make_int64(d->env, exp);
        status = pc_struct_make(d->env, PC_STRUCT_DECIMAL, fields, term) ? PC_OK : failed(d, PC_NO_MEMORY);
    }
    return leave_payload(d, &p, status, "a decimal");
}

/* A payload that has come in shared memory, which is of the kind that is wanted. */
static enum pc_status decode_apart(struct decoder *d, const struct pc_token *t, enum pc_segment_kind *kind,
                                   ERL_NIF_TERM *term) {
    struct pc_segment_name name;
    size_t n;
    if (d->opts->parcel == NULL || t->len != PC_SEGMENT_PAYLOAD || t->data[0] > PC_SEGMENT_ARROW) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a segment of shared memory that is not well formed");
    }
    *kind = (enum pc_segment_kind)t->data[0];
    pc_segment_name_read(&name, t->data + 1);
    struct pc_parcel_item *item = pc_parcel_find(d->opts->parcel, &name);
    if (item == NULL) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a segment of shared memory that is not there");
    }
    const uint8_t *bytes = pc_parcel_bytes(item, &n);
    d->units -= (*kind == PC_SEGMENT_STR ? (int64_t)(n / PC_CHECKED_PER_UNIT) : 0) +
                (pc_parcel_copies(item) ? (int64_t)(n / PC_COPIED_PER_UNIT) : 0);
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
    if (*kind == PC_SEGMENT_STR && !pc_utf8_valid(bytes, n)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a str that is not valid UTF-8");
    }
    return pc_parcel_binary(d->env, item, term) ? PC_OK : failed(d, PC_NO_MEMORY);
}

/* As a value of its own. */
static enum pc_status decode_segment(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    enum pc_segment_kind kind = PC_SEGMENT_BIN;
    ERL_NIF_TERM data = 0;
    enum pc_status status = decode_apart(d, t, &kind, &data);
    if (status != PC_OK) {
        return status;
    }
    *term = data;
    bool made = true;
    if (kind == PC_SEGMENT_ARROW) {
        made = pc_struct_make(d->env, PC_STRUCT_ARROW, &data, term);
    } else if (kind == PC_SEGMENT_BIN && d->opts->tagged_bytes) {
        made = pc_struct_make(d->env, PC_STRUCT_BYTES, &data, term);
    }
    return made ? PC_OK : failed(d, PC_NO_MEMORY);
}

/* The elements of a tensor. */
static enum pc_status decode_elements(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    enum pc_segment_kind kind = PC_SEGMENT_BIN;
    if (t->type == PC_BIN) {
        return decode_binary(d, t->data, t->len, term);
    }
    return decode_apart(d, t, &kind, term);
}

static bool read_shape(struct decoder *d, ERL_NIF_TERM *term) {
    ERL_NIF_TERM sizes[PC_TENSOR_RANK];
    uint32_t rank;
    if (pc_read_array(d->r, &rank) != PC_OK || rank > PC_TENSOR_RANK) {
        return false;
    }
    for (uint32_t i = 0; i < rank; i++) {
        int64_t size;
        if (pc_read_int(d->r, &size) != PC_OK || size < 0) {
            return false;
        }
        sizes[i] = enif_make_int64(d->env, size);
    }
    d->units -= rank;
    *term = enif_make_tuple_from_array(d->env, sizes, rank);
    return true;
}

static enum pc_status decode_tensor(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    struct payload p;
    struct pc_token data;
    uint32_t n;
    const char *dtype;
    uint32_t length;
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS];
    enum pc_status status = enter_payload(d, t, &p);
    if (status != PC_OK) {
        return status;
    }
    if (pc_read_array(d->r, &n) != PC_OK || n != 3 || pc_read_str(d->r, &dtype, &length) != PC_OK ||
        !read_shape(d, &fields[1]) || pc_reader_next(d->r, &data) != PC_OK ||
        !(data.type == PC_BIN || (data.type == PC_EXT && data.ext == PC_EXT_SEGMENT))) {
        status = pc_term_fail(d->env, d->err, PC_INVALID, "a tensor that is not well formed");
    } else {
        status = decode_elements(d, &data, &fields[2]);
        if (status == PC_OK && !(pc_term_make_binary(d->env, dtype, length, &fields[0]) &&
                                 pc_struct_make(d->env, PC_STRUCT_TENSOR, fields, term))) {
            status = failed(d, PC_NO_MEMORY);
        }
    }
    return leave_payload(d, &p, status, "a tensor");
}

static enum pc_status decode_arrow(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    ERL_NIF_TERM data;
    enum pc_status status = decode_binary(d, t->data, t->len, &data);
    if (status == PC_OK && !pc_struct_make(d->env, PC_STRUCT_ARROW, &data, term)) {
        status = failed(d, PC_NO_MEMORY);
    }
    return status;
}

static enum pc_status decode_opaque(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= OPAQUE_COST + t->len / OPAQUE_BYTES_PER_UNIT;
    if (is_time_up(d)) {
        return PC_BUDGET;
    }
    if (!pc_term_read_opaque(d->env, t->data, t->len, term)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "an opaque term that this VM did not issue");
    }
    return PC_OK;
}

static enum pc_status decode_ref(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= OPAQUE_COST;
    if (d->opts->lease == NULL) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a reference to an object that is not in the answer to a call");
    }
    if (!pc_ref_read(d->env, d->opts->lease, t->data, t->len, term)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a reference to an object that is not well formed");
    }
    return PC_OK;
}

static enum pc_status decode_raw(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS] = {enif_make_int(d->env, t->ext)};
    enum pc_status status = decode_binary(d, t->data, t->len, &fields[1]);
    if (status == PC_OK && !pc_struct_make(d->env, PC_STRUCT_EXT, fields, term)) {
        status = failed(d, PC_NO_MEMORY);
    }
    if (d->opts->kept_raw != NULL) {
        *d->opts->kept_raw = true;
    }
    return status;
}

static enum pc_status decode_timestamp(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    enum pc_status status = pc_term_read_timestamp(d->env, t->data, t->len, term);
    if (status == PC_WRONG_TYPE && d->opts->raw != NULL) {
        return decode_raw(d, t, term);
    }
    if (status == PC_WRONG_TYPE) {
        return pc_term_fail(d->env, d->err, PC_INVALID,
                            "a timestamp with nanoseconds, or beyond the years that DateTime has");
    }
    return status == PC_OK ? status : pc_term_fail(d->env, d->err, status, "a timestamp that is not well formed");
}

static enum pc_status decode_calendar(struct decoder *d, enum pc_struct which, const struct pc_token *t,
                                      ERL_NIF_TERM *term) {
    enum pc_status status = pc_term_read_calendar(d->env, which, t->data, t->len, term);
    return status == PC_OK ? status
                           : pc_term_fail(d->env, d->err, status, "a %s that does not exist", pc_struct_name(which));
}

static enum pc_status decode_bigint(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    d->units -= BIGINT_COST + t->len / PC_COPIED_PER_UNIT;
    if ((d->budget != NULL && t->len > PC_HUGE_INTEGER) || is_time_up(d)) {
        return PC_BUDGET;
    }
    if (!pc_term_read_bigint(d->env, t->data, t->len, term)) {
        return pc_term_fail(d->env, d->err, PC_INVALID, "a big integer that is not well formed, or too large");
    }
    return PC_OK;
}

enum pc_status pc_term_decode_ext(struct decoder *d, const struct pc_token *t, ERL_NIF_TERM *term) {
    if (is_raw(d, t->ext)) {
        d->units -= STRUCT_COST;
        return decode_raw(d, t, term);
    }
    switch (t->ext) {
    case PC_EXT_BIGINT:
        return decode_bigint(d, t, term);
    case PC_EXT_TUPLE:
        return decode_tuple(d, t, term);
    case PC_EXT_OPAQUE:
        return decode_opaque(d, t, term);
    default:
        d->units -= STRUCT_COST;
    }
    switch (t->ext) {
    case PC_EXT_TIMESTAMP:
        return decode_timestamp(d, t, term);
    case PC_EXT_SET:
        return decode_set(d, t, term);
    case PC_EXT_DATE:
        return decode_calendar(d, PC_STRUCT_DATE, t, term);
    case PC_EXT_TIME:
        return decode_calendar(d, PC_STRUCT_TIME, t, term);
    case PC_EXT_NAIVE_DATETIME:
        return decode_calendar(d, PC_STRUCT_NAIVE, t, term);
    case PC_EXT_DATETIME:
        return decode_calendar(d, PC_STRUCT_DATETIME, t, term);
    case PC_EXT_DECIMAL:
        return decode_decimal(d, t, term);
    case PC_EXT_TENSOR:
        return decode_tensor(d, t, term);
    case PC_EXT_ARROW:
        return decode_arrow(d, t, term);
    case PC_EXT_REF:
        return decode_ref(d, t, term);
    case PC_EXT_SEGMENT:
        return decode_segment(d, t, term);
    default:
        return pc_term_fail(d->env, d->err, PC_INVALID, "an extension of the unknown type %d", t->ext);
    }
}
