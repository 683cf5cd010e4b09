#ifndef PC_NIF_TERM_STRUCT_H
#define PC_NIF_TERM_STRUCT_H

/* The structs that the codec knows: their names, their fields, and the state that is made at load. */

#include "codec/siphash.h"
#include "term.h"

/* Each with the fields that it is made from and taken apart into, in this order. */
enum pc_struct {
    PC_STRUCT_SET,      /* map */
    PC_STRUCT_DATE,     /* calendar, year, month, day */
    PC_STRUCT_TIME,     /* calendar, hour, minute, second, microsecond */
    PC_STRUCT_NAIVE,    /* calendar, year, month, day, hour, minute, second, microsecond */
    PC_STRUCT_DATETIME, /* as NAIVE, then time_zone, zone_abbr, utc_offset, std_offset */
    PC_STRUCT_DECIMAL,  /* sign, coef, exp */
    PC_STRUCT_TENSOR,   /* dtype, shape, data */
    PC_STRUCT_ARROW,    /* data */
    PC_STRUCT_BYTES,    /* data */
    PC_STRUCT_EXT,      /* type, data */
    PC_STRUCT_REF,      /* handle, pool, type */
    PC_STRUCT_ITERATOR, /* reduce, buffer */
    PC_STRUCTS,
};

enum {
    PC_STRUCT_FIELDS = 12, /* most that one of them has */
    PC_TEMPLATE_KEYS = 24,
    PC_TENSOR_RANK = 255, /* most dimensions of a tensor; NumPy has 64 */
};

/* __struct__, the fields above, then whatever else such a struct has, with its default. */
struct pc_template {
    unsigned given; /* __struct__ and the fields above */
    unsigned n;
    ERL_NIF_TERM keys[PC_TEMPLATE_KEYS];
    ERL_NIF_TERM values[PC_TEMPLATE_KEYS];
};

struct pc_term_state {
    ErlNifEnv *env;         /* of the templates' defaults, and the bounds */
    ERL_NIF_TERM bounds[2]; /* pc_term_make_bounds */
    struct pc_template templates[PC_STRUCTS];
    uint8_t key[PC_SIPHASH_KEY];
};

/* The one in use. */
const struct pc_term_state *pc_term_state(void);

/* The struct with this name, or PC_STRUCTS. */
enum pc_struct pc_struct_find(ERL_NIF_TERM name);

/* As Elixir shows it. */
const char *pc_struct_name(enum pc_struct which);

/* A struct from its fields; false when out of memory. */
bool pc_struct_make(ErlNifEnv *env, enum pc_struct which, const ERL_NIF_TERM fields[], ERL_NIF_TERM *term);

/* The fields of a map that has the struct's name; false if it has others, or lacks one. */
bool pc_struct_fields(ErlNifEnv *env, enum pc_struct which, ERL_NIF_TERM map, ERL_NIF_TERM fields[]);

#endif
