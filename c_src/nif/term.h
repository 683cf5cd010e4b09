#ifndef PC_NIF_TERM_H
#define PC_NIF_TERM_H

/*
 * Erlang terms to and from MessagePack (docs/protocol.md, Extension types). Any scheduler; takes no lock;
 * creates no atom from input. Nothing here knows frames or sockets.
 */

#include <erl_nif.h>
#include <stdbool.h>

#include "budget.h"
#include "codec/reader.h"
#include "codec/writer.h"

/* How a binary is written. */
enum pc_binaries {
    PC_BINARIES_STR, /* must be UTF-8 */
    PC_BINARIES_BIN,
    PC_BINARIES_AUTO, /* str if it is UTF-8 */
};

/* How an atom is written, and what extension 1 becomes. */
enum pc_atoms {
    PC_ATOMS_EXT,      /* extension 1; a binary when there is no such atom */
    PC_ATOMS_STRING,   /* str; a binary */
    PC_ATOMS_EXISTING, /* extension 1; refused when there is no such atom */
};

enum pc_tuples {
    PC_TUPLES_EXT,
    PC_TUPLES_LIST, /* written as an array */
    PC_TUPLES_ERROR,
};

enum { PC_EXT_MASK = 256 / 8 };

/* A part of an output that stays where it is: behind `at` bytes of the writer's own stand the bytes of `binary`. */
struct pc_cut {
    size_t at;
    ERL_NIF_TERM binary;
};

struct pc_channel;
struct pc_lease;
struct pc_outgo;
struct pc_parcel;

struct pc_cuts {
    size_t least;        /* bytes: smaller binaries are copied into the writer */
    bool joined;         /* all will be copied into one binary in the end, which is work to be paid for */
    struct pc_cut *list; /* enif_alloc; the caller frees it */
    size_t n;
    size_t cap;
    size_t bytes; /* of all binaries */
};

/* All zero but `nil` is what calls use when nothing else is asked for. */
struct pc_term_opts {
    ERL_NIF_TERM nil; /* the atom that stands for nil */
    enum pc_binaries binaries;
    enum pc_atoms atoms;
    enum pc_tuples tuples;
    bool existing_keys;  /* a str that is a map's key becomes an atom if that exists */
    bool tagged_bytes;   /* bin arrives as Pitcrew.Bytes */
    bool finite;         /* nan, infinity and neg_infinity are no floats: refused, and plain atoms */
    bool copy_binaries;  /* do not share memory with the input */
    unsigned max_depth;  /* 1 to PC_MAX_DEPTH; 0 is the latter */
    size_t max_size;     /* of the MessagePack in bytes; 0 is no limit but the writer's */
    size_t inline_units; /* for tests: the budget of encode and decode in units; 0 is the usual one */
    const uint8_t
        *raw; /* PC_EXT_MASK bytes: a bit for each extension that is kept as Pitcrew.MessagePack.Ext, or NULL */
    struct pc_cuts *cuts;       /* encoding: large binaries go there, not into the writer; or NULL */
    ERL_NIF_TERM source;        /* decoding: the binary that is read, of which large ones become parts; or 0 */
    const uint8_t *origin;      /* its bytes */
    size_t share_least;         /* decoding: smaller binaries are copied all the same; 0 is the usual size */
    struct pc_channel *refs_to; /* encoding: the worker's whose objects may be referred to; or NULL */
    struct pc_lease *lease;     /* decoding: of the references in it; or NULL */
    struct pc_outgo *outgo;     /* encoding: large binaries go into shared memory, if there is some for them; or NULL */
    struct pc_parcel *parcel;   /* decoding: what has come in shared memory; or NULL */
    bool calls;                 /* encoding: a function is one that the worker may call, or refused: err->is_function */
    ERL_NIF_TERM functions;     /* encoding: a map from those to their numbers; or 0 */
    ERL_NIF_TERM host;          /* their host, a pid; or 0 */
    ERL_NIF_TERM nested;        /* of a call that such a function makes: a list of the calls around it; or 0 */
    bool timed;                 /* of a call: how long the codec took for it is told, too */
    bool *kept_raw;             /* decoding: set when an extension was kept; or NULL */
};

/* Where and why encoding or decoding stopped. `path` is a list, outermost first, in the env of the call. */
struct pc_term_error {
    enum pc_status status;
    char message[256];
    ERL_NIF_TERM path;
    bool is_stopped;          /* the path ends at a container in whose key or element it happened */
    ERL_NIF_TERM struct_name; /* the struct that only Pitcrew.Encoder can help with, or 0 */
    ERL_NIF_TERM ref;         /* the handle of a reference to an object of another worker, or 0 */
    bool is_function;         /* a function that is not known as one to be called */
};

/*
 * What is made once, at load, and only read afterwards: the fields of structs, and the key that tells this VM's opaque
 * terms from others. `templates` is a map from the names of structs to new ones, as Elixir makes them; those that are
 * missing have the fields that they are known to have.
 */
struct pc_term_state;
struct pc_term_state *pc_term_state_new(ErlNifEnv *env, ERL_NIF_TERM templates);
void pc_term_state_free(struct pc_term_state *state);
/* Which one the functions below use; at load and upgrade. */
void pc_term_state_use(const struct pc_term_state *state);

/* Reads codec_opts() of pitcrew_nif.erl; false if it is not a map, or has an unknown key or a value that is not allowed. */
bool pc_term_opts_read(ErlNifEnv *env, ERL_NIF_TERM map, struct pc_term_opts *opts);

/*
 * Appends a term to w. When `budget` has run out the result is PC_BUDGET and the caller starts over elsewhere; NULL means no
 * bound. On failure *err says where and what to do about it.
 */
enum pc_status pc_term_encode(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term, const struct pc_term_opts *opts,
                              struct pc_budget *budget, struct pc_term_error *err);

/*
 * Where an encoding ran out of budget, if that was between the elements of the outermost list: what the writer and the cuts hold
 * are `count` of them, and `rest` is a list of the others. A count of 0 means that it has to start over.
 */
struct pc_term_stop {
    ERL_NIF_TERM rest;
    size_t count;
};

/* pc_term_encode that fills in *stop, which may be NULL, when it returns PC_BUDGET. */
enum pc_status pc_term_encode_until(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM term,
                                    const struct pc_term_opts *opts, struct pc_budget *budget,
                                    struct pc_term_stop *stop, struct pc_term_error *err);

/* Goes on where it stopped, without a budget: writer and cuts hold what they held; `list` is the whole list. */
enum pc_status pc_term_encode_on(ErlNifEnv *env, struct pc_writer *w, ERL_NIF_TERM list,
                                 const struct pc_term_stop *stop, const struct pc_term_opts *opts,
                                 struct pc_term_error *err);

/* Reads one value. Duplicate map keys: the last wins. Small str/bin are copied into the heap of env. */
enum pc_status pc_term_decode(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts, ERL_NIF_TERM *term,
                              struct pc_term_error *err);

/*
 * Where a decoding ran out of budget. The reader stands before the value that is next; `terms` is a tuple of those that wait for
 * their containers, and `levels` says which containers those are.
 */
struct pc_term_pause {
    ERL_NIF_TERM terms;
    ERL_NIF_TERM levels;
};

/*
 * The same within a budget: PC_BUDGET when it runs out; then *pause, if that is not NULL, is where to go on, and otherwise the
 * reader is somewhere inside the value. PC_TRUNCATED only if more input could make the value whole.
 */
enum pc_status pc_term_decode_within(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_opts *opts,
                                     struct pc_budget *budget, struct pc_term_pause *pause, ERL_NIF_TERM *term,
                                     struct pc_term_error *err);

/* Goes on where it paused, without a budget: the reader stands where it stood. */
enum pc_status pc_term_decode_on(ErlNifEnv *env, struct pc_reader *r, const struct pc_term_pause *pause,
                                 const struct pc_term_opts *opts, ERL_NIF_TERM *term, struct pc_term_error *err);

/* n bytes as a binary; false when out of memory. */
bool pc_term_make_binary(ErlNifEnv *env, const void *bytes, size_t n, ERL_NIF_TERM *term);

/* An error that is not inside any value: its status is all there is to say. Returns it. */
enum pc_status pc_term_refuse(ErlNifEnv *env, struct pc_term_error *err, enum pc_status status);

/* codec_error() of pitcrew_nif.erl; `kind` is encode_error or decode_error (PC_TOO_BIG always becomes too_big). */
ERL_NIF_TERM pc_term_error_make(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err);

#endif
