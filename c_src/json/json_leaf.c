/* What has no parts, as json_t: numbers, text, atoms. Paid from the budget; text before it is looked at. */

#include <math.h>

#include "codec/reader.h"
#include "json_atoms.h"
#include "json_builder.h"

enum pc_status pc_json_build_integer(struct builder *b, ERL_NIF_TERM term, json_t **value) {
    ErlNifSInt64 i;
    if (!enif_get_int64(b->env, term, &i)) {
        return refuse(b, "an integer beyond 64 bits (-2^63 to 2^63 - 1) has no place in JSON here; write it as text");
    }
    *value = json_integer(i);
    enum pc_status status = made(b, *value);
    return status == PC_OK ? pay(b, INTEGER_COST) : status;
}

enum pc_status pc_json_build_float(struct builder *b, ERL_NIF_TERM term, json_t **value) {
    double f;
    (void)enif_get_double(b->env, term, &f);
    *value = json_real(f);
    enum pc_status status = made(b, *value);
    double size = fabs(f);
    return status == PC_OK ? pay(b, size > 1e40 || (size > 0 && size < 1e-40) ? FAR_FLOAT_COST : FLOAT_COST) : status;
}

enum pc_status pc_json_get_text(struct builder *b, ERL_NIF_TERM term, ErlNifBinary *bin) {
    if (!enif_inspect_binary(b->env, term, bin)) {
        return refuse(b, "a bitstring that is no binary has no place in JSON");
    }
    enum pc_status status = pay(b, TEXT_COST + (int64_t)bin->size * BYTE_COST);
    if (status == PC_OK && !pc_utf8_valid(bin->data, bin->size)) {
        return refuse(b,
                      "a binary that is not valid UTF-8: JSON carries text only; write bytes as text, such as Base64");
    }
    return status;
}

enum pc_status pc_json_build_text(struct builder *b, ERL_NIF_TERM term, json_t **value) {
    ErlNifBinary bin;
    enum pc_status status = pc_json_get_text(b, term, &bin);
    if (status != PC_OK) {
        return status;
    }
    *value = json_stringn_nocheck((const char *)bin.data, bin.size);
    return made(b, *value);
}

enum pc_status pc_json_get_atom_text(struct builder *b, ERL_NIF_TERM atom, char text[PC_JSON_ATOM_BYTES], size_t *n) {
    bool far;
    *n = pc_json_atom_text(b->env, atom, text, &far);
    if (*n == SIZE_MAX) {
        return no_memory(b);
    }
    return pay(b, TEXT_COST + (int64_t)*n * BYTE_COST + (far ? FAR_ATOM_COST : 0));
}

static enum pc_status build_text_atom(struct builder *b, ERL_NIF_TERM atom, json_t **value) {
    char text[PC_JSON_ATOM_BYTES];
    size_t n;
    enum pc_status status = pc_json_get_atom_text(b, atom, text, &n);
    if (status != PC_OK) {
        return status;
    }
    *value = json_stringn_nocheck(text, n);
    return made(b, *value);
}

enum pc_status pc_json_build_atom(struct builder *b, ERL_NIF_TERM atom, json_t **value) {
    if (atom == b->opts->nil) {
        *value = json_null();
    } else if (atom == am_true || atom == am_false) {
        *value = json_boolean(atom == am_true);
    } else if (atom == am_nan || atom == am_infinity || atom == am_neg_infinity) {
        return refuse(b, "nan, infinity and neg_infinity stand for floats that JSON does not have");
    } else {
        return build_text_atom(b, atom, value);
    }
    return pay(b, WORD_COST);
}
