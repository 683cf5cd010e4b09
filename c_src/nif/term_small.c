/* Whether small integers are what term_small.h thinks. */

#include "term_small.h"

enum {
    UNKNOWN = PC_SMALL_MASK + 1,
    TAG = 15,
};

unsigned pc_small_tag = UNKNOWN;

static bool is_as_expected(ErlNifEnv *env, int64_t value) {
    ERL_NIF_TERM term = enif_make_int64(env, value);
    return sizeof term == sizeof value && ((unsigned)term & PC_SMALL_MASK) == TAG && pc_small_value(term) == value;
}

static bool is_other(ERL_NIF_TERM term) { return ((unsigned)term & PC_SMALL_MASK) != TAG; }

void pc_small_init(ErlNifEnv *env) {
    bool good = true;
    /* Up to the 60 bits that are left, and not one more. */
    for (unsigned bits = 0; bits < 60; bits++) {
        int64_t power = INT64_C(1) << bits;
        good = good && is_as_expected(env, power - 1) && is_as_expected(env, -power);
    }
    int64_t beyond = INT64_C(1) << 59;
    const ERL_NIF_TERM others[] = {
        enif_make_int64(env, beyond),
        enif_make_int64(env, -beyond - 1),
        enif_make_atom(env, "nil"),
        enif_make_double(env, 1.0),
        enif_make_list_from_array(env, NULL, 0),
        enif_make_list1(env, enif_make_int(env, 1)),
        enif_make_tuple1(env, enif_make_int(env, 1)),
        enif_make_new_map(env),
        enif_make_ref(env),
        enif_make_string(env, "s", ERL_NIF_LATIN1),
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        good = good && is_other(others[i]);
    }
    pc_small_tag = good ? TAG : UNKNOWN;
}
