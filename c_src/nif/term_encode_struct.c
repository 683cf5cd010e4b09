/* The structs that have a form of their own on the wire; the others are for Pitcrew.Encoder. */

#include "atoms.h"
#include "codec/ext.h"
#include "refs.h"
#include "term_encoder.h"

/* The elements of a MapSet are the keys of its map. */
static enum pc_status encode_set_elements(struct encoder *e, ERL_NIF_TERM map) {
    ErlNifMapIterator it;
    ERL_NIF_TERM element;
    ERL_NIF_TERM value;
    enum pc_status status = PC_OK;
    if (!enif_map_iterator_create(e->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return no_memory(e);
    }
    while (status == PC_OK && enif_map_iterator_get_pair(e->env, &it, &element, &value)) {
        status = pc_term_encode_value(e, element);
        if (status != PC_OK) {
            status = stop_here(e, status, "in an element");
        }
        (void)enif_map_iterator_next(e->env, &it);
    }
    enif_map_iterator_destroy(e->env, &it);
    return status;
}

static enum pc_status encode_set(struct encoder *e, ERL_NIF_TERM map) {
    size_t n;
    if (!enif_get_map_size(e->env, map, &n)) {
        return unsupported(e, "a MapSet that is not well formed");
    }
    enum pc_status status = enter(e);
    if (status != PC_OK) {
        return status;
    }
    size_t mark = pc_write_ext_begin(e->w);
    size_t elsewhere = bytes_elsewhere(e);
    pc_write_array(e->w, n);
    e->keys++;
    status = encode_set_elements(e, map);
    e->keys--;
    if (status != PC_OK) {
        return status;
    }
    pc_write_ext_end_apart(e->w, mark, PC_EXT_SET, bytes_elsewhere(e) - elsewhere);
    e->depth--;
    return written(e);
}

/* An integer that is not negative, or NaN or inf. */
static bool write_coefficient(struct encoder *e, ERL_NIF_TERM coef) {
    if (coef == am_NaN || coef == am_inf) {
        pc_write_cstr(e->w, coef == am_NaN ? "NaN" : "inf");
        return true;
    }
    return enif_term_type(e->env, coef) == ERL_NIF_TERM_TYPE_INTEGER &&
           enif_compare(coef, enif_make_int(e->env, 0)) >= 0 && encode_integer(e, coef) == PC_OK;
}

static enum pc_status encode_decimal(struct encoder *e, const ERL_NIF_TERM f[]) {
    int sign;
    ErlNifSInt64 exp;
    if (e->budget != NULL && enif_term_type(e->env, f[1]) == ERL_NIF_TERM_TYPE_INTEGER &&
        pc_term_is_huge_integer(f[1])) {
        return PC_BUDGET;
    }
    size_t mark = pc_write_ext_begin(e->w);
    pc_write_array(e->w, 3);
    if (!enif_get_int(e->env, f[0], &sign) || (sign != 1 && sign != -1) || !enif_get_int64(e->env, f[2], &exp)) {
        return unsupported(e, "a Decimal that is not well formed");
    }
    pc_write_int(e->w, sign);
    if (!write_coefficient(e, f[1])) {
        return e->w->status != PC_OK ? written(e) : unsupported(e, "a Decimal that is not well formed");
    }
    pc_write_int(e->w, exp);
    pc_write_ext_end(e->w, mark, PC_EXT_DECIMAL);
    return written(e);
}

static bool write_shape(struct encoder *e, ERL_NIF_TERM shape) {
    int rank;
    const ERL_NIF_TERM *sizes;
    ErlNifSInt64 size;
    if (!enif_get_tuple(e->env, shape, &rank, &sizes) || rank > PC_TENSOR_RANK) {
        return false;
    }
    pc_write_array(e->w, (size_t)rank);
    for (int i = 0; i < rank; i++) {
        if (!enif_get_int64(e->env, sizes[i], &size) || size < 0) {
            return false;
        }
        pc_write_int(e->w, size);
    }
    return true;
}

static enum pc_status encode_tensor(struct encoder *e, const ERL_NIF_TERM f[]) {
    ErlNifBinary dtype;
    ErlNifBinary data;
    if (!enif_inspect_binary(e->env, f[0], &dtype) || !pc_utf8_valid(dtype.data, dtype.size) ||
        !enif_inspect_binary(e->env, f[2], &data)) {
        return unsupported(e, "a Pitcrew.Tensor that is not well formed");
    }
    size_t mark = pc_write_ext_begin(e->w);
    size_t elsewhere = bytes_elsewhere(e);
    pc_write_array(e->w, 3);
    pc_write_str(e->w, dtype.data, dtype.size);
    if (!write_shape(e, f[1])) {
        return unsupported(e, "a Pitcrew.Tensor whose shape is no tuple of sizes");
    }
    enum pc_status status = encode_bytes(e, f[2], &data, PC_BINARIES_BIN);
    if (status == PC_OK) {
        pc_write_ext_end_apart(e->w, mark, PC_EXT_TENSOR, bytes_elsewhere(e) - elsewhere);
        status = written(e);
    }
    return status;
}

/* An extension whose payload is one binary. */
static enum pc_status encode_payload(struct encoder *e, int8_t type, ERL_NIF_TERM data, const char *what) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(e->env, data, &bin)) {
        return unsupported(e, what);
    }
    enum pc_status status = pay_for_bytes(e, bin.size, false);
    if (status != PC_OK) {
        return status;
    }
    if (type == PC_EXT_ARROW && is_apart(e, bin.size)) {
        bool done;
        status = pc_term_encode_apart(e, PC_SEGMENT_ARROW, &bin, &done);
        if (done) {
            return status;
        }
    }
    pc_write_ext_header(e->w, type, bin.size);
    return write_body(e, data, &bin);
}

static enum pc_status encode_ext(struct encoder *e, const ERL_NIF_TERM f[]) {
    int type;
    if (e->opts->raw == NULL) {
        return unsupported(e, "a Pitcrew.MessagePack.Ext, which only Pitcrew.MessagePack writes,");
    }
    if (!enif_get_int(e->env, f[0], &type) || type < INT8_MIN || type > INT8_MAX) {
        return unsupported(e, "a Pitcrew.MessagePack.Ext whose type is not from -128 to 127");
    }
    return encode_payload(e, (int8_t)type, f[1], "a Pitcrew.MessagePack.Ext whose data is no binary");
}

static enum pc_status encode_ref(struct encoder *e, const ERL_NIF_TERM f[]) {
    struct pc_ref *ref;
    if (!pc_ref_get(e->env, f[0], &ref)) {
        return unsupported(e, "a Pitcrew.Ref that another VM has made, or that is not well formed,");
    }
    if (pc_ref_channel(ref) != e->opts->refs_to) {
        (void)unsupported(e, "a Pitcrew.Ref, which is only for calls of the worker that has the object,");
        e->err->ref = f[0];
        return e->err->status;
    }
    pc_ref_write(e->w, ref);
    return written(e);
}

/* The whole struct is what its number is known by, as with a function. */
static enum pc_status encode_iterator(struct encoder *e, ERL_NIF_TERM map) {
    if (!e->opts->calls || e->keys > 0) {
        return unsupported(e,
                           "a Pitcrew.Iterator, which is only for the arguments of calls, and not for keys and sets,");
    }
    return pc_term_encode_called(e, map, PC_EXT_ITERATOR);
}

static enum pc_status encode_wrapped_bytes(struct encoder *e, ERL_NIF_TERM map) {
    ERL_NIF_TERM data;
    ErlNifBinary bin;
    if (!enif_get_map_value(e->env, map, am_data, &data) || !enif_inspect_binary(e->env, data, &bin)) {
        return unsupported(e, "a Pitcrew.Bytes whose data is no binary");
    }
    return encode_bytes(e, data, &bin, PC_BINARIES_BIN);
}

static enum pc_status refuse_struct(struct encoder *e, ERL_NIF_TERM name) {
    char text[128];
    if (enif_snprintf(text, sizeof text, "%T", name) < 0) {
        text[0] = '\0';
    }
    enum pc_status status = pc_term_fail(e->env, e->err, PC_INVALID,
                                         "the struct %s cannot be encoded; make it a map, list or binary first", text);
    e->err->struct_name = name;
    return status;
}

enum pc_status pc_term_encode_struct(struct encoder *e, ERL_NIF_TERM map, ERL_NIF_TERM name) {
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS];
    enum pc_struct which = pc_struct_find(name);
    e->units -= STRUCT_COST;
    if (which == PC_STRUCTS) {
        return refuse_struct(e, name);
    }
    if (which == PC_STRUCT_BYTES) {
        return encode_wrapped_bytes(e, map);
    }
    if (!pc_struct_fields(e->env, which, map, fields)) {
        return pc_term_fail(e->env, e->err, PC_INVALID, "a %s with other fields than it should have",
                            pc_struct_name(which));
    }
    switch (which) {
    case PC_STRUCT_SET:
        return encode_set(e, fields[0]);
    case PC_STRUCT_DECIMAL:
        return encode_decimal(e, fields);
    case PC_STRUCT_TENSOR:
        return encode_tensor(e, fields);
    case PC_STRUCT_ARROW:
        return encode_payload(e, PC_EXT_ARROW, fields[0], "a Pitcrew.Arrow whose data is no binary");
    case PC_STRUCT_EXT:
        return encode_ext(e, fields);
    case PC_STRUCT_REF:
        return encode_ref(e, fields);
    case PC_STRUCT_ITERATOR:
        return encode_iterator(e, map);
    default: {
        enum pc_status status = pc_term_write_calendar(e->env, e->w, which, fields, e->err);
        return status == PC_OK ? written(e) : status;
    }
    }
}
