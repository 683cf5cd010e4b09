/*
 * See term_key.h. The canonical form of a term is a sequence of words that goes straight into a hash, SipHash-2-4-128, and is never
 * kept: one that says in its least byte what comes, and in the others a number, a length or nothing; then its contents. It tells where each part
 * ends, so different terms have different forms. The pairs of a map have no order, so each is hashed by itself, and these hashes are sorted.
 *
 * Invariants: containers nest at most PC_MAX_DEPTH deep; each term costs units of the budget before work is done for it. The form must
 * never change without CACHE_FORM in pitcrew_cache.erl, because other nodes share what is kept under it.
 */

#include "term_key.h"

#include <stdlib.h>
#include <string.h>

#include "atoms.h"
#include "term_private.h"
#include "term_small.h"

enum form {
    FORM_INTEGER = 1, /* itself, in 7 bytes, two's complement */
    FORM_LONG,        /* 8 bytes */
    FORM_BIG,         /* length, external term format */
    FORM_FLOAT,       /* 8 bytes as in memory */
    FORM_ATOM,        /* length, a MessagePack str */
    FORM_BINARY,      /* length, bytes */
    FORM_LIST,        /* elements, FORM_END */
    FORM_END,
    FORM_TUPLE, /* arity, elements */
    FORM_MAP,   /* size, sorted hashes of its pairs */
    FORM_SET,   /* size, sorted hashes of its elements */
};

enum {
    /* In units, as in term_encoder.h. */
    TERM_COST = 2,
    BIGINT_COST = 15,
    HASH_COST = 5,
    SORT_COST = 4,
    LOCAL_HASHES = 8,
    LOCAL_LEVELS = 64,
    /* In bytes. */
    WORD = 8,
    ON_HEAP = 64, /* larger binaries are kept apart from the heap */
    APART_WORDS = 6,
    STRUCT_WORDS = 10, /* around the elements of a set */
};

#define LONG_FROM (INT64_C(1) << 55)

struct hash {
    uint64_t a, b;
};

struct walk {
    ErlNifEnv *env;
    const uint8_t *key;
    struct pc_siphash *to; /* of what is walked now; NULL when only its weight is asked for */
    struct pc_budget *budget;
    int64_t units;
    unsigned depth;
    size_t bytes;
};

static enum pc_status walk_value(struct walk *w, ERL_NIF_TERM term);

static void put_word(struct walk *w, uint64_t word) {
    if (w->to != NULL) {
        pc_siphash_word(w->to, word, 8);
    }
}

/* Of the number 7 bytes. */
static void put(struct walk *w, enum form form, uint64_t number) { put_word(w, number << 8 | (uint64_t)form); }

static enum pc_status pay(struct walk *w, int64_t units) {
    w->units -= units;
    return w->units < 0 && !pc_budget_extend(w->budget, &w->units) ? PC_BUDGET : PC_OK;
}

static enum pc_status enter(struct walk *w) {
    if (w->depth == PC_MAX_DEPTH) {
        return PC_TOO_DEEP;
    }
    w->depth++;
    return PC_OK;
}

static void walk_int(struct walk *w, ErlNifSInt64 value) {
    if (value >= -LONG_FROM && value < LONG_FROM) {
        put(w, FORM_INTEGER, (uint64_t)value);
    } else {
        put(w, FORM_LONG, 0);
        put_word(w, (uint64_t)value);
    }
}

APART static enum pc_status walk_big(struct walk *w, ERL_NIF_TERM term) {
    ErlNifBinary etf;
    if (w->budget != NULL && pc_term_is_huge_integer(term)) {
        return PC_BUDGET;
    }
    if (!enif_term_to_binary(w->env, term, &etf)) {
        return PC_NO_MEMORY;
    }
    put(w, FORM_BIG, etf.size);
    if (w->to != NULL) {
        pc_siphash_bytes(w->to, etf.data, etf.size);
    }
    w->bytes += WORD + etf.size;
    enum pc_status status = pay(w, BIGINT_COST + (int64_t)(etf.size / PC_CHECKED_PER_UNIT));
    enif_release_binary(&etf);
    return status;
}

static enum pc_status walk_integer(struct walk *w, ERL_NIF_TERM term) {
    ErlNifSInt64 value;
    if (!enif_get_int64(w->env, term, &value)) {
        return walk_big(w, term);
    }
    walk_int(w, value);
    w->bytes += pc_is_small(term) ? 0 : 2 * WORD;
    return PC_OK;
}

static void walk_float(struct walk *w, ERL_NIF_TERM term) {
    double value;
    uint64_t bits;
    (void)enif_get_double(w->env, term, &value);
    memcpy(&bits, &value, sizeof bits);
    put(w, FORM_FLOAT, 0);
    put_word(w, bits);
    w->bytes += 2 * WORD;
}

APART static enum pc_status walk_atom(struct walk *w, ERL_NIF_TERM atom) {
    uint8_t text[4 * 255 + 8];
    struct pc_writer to;
    if (w->to == NULL) {
        return PC_OK;
    }
    pc_writer_init(&to, text, sizeof text, sizeof text, NULL, NULL);
    if (!pc_term_write_atom(w->env, &to, atom, true)) {
        return PC_NO_MEMORY;
    }
    put(w, FORM_ATOM, to.len);
    pc_siphash_bytes(w->to, text, to.len);
    return PC_OK;
}

static enum pc_status walk_binary(struct walk *w, ERL_NIF_TERM term) {
    ErlNifBinary bin;
    if (!enif_inspect_binary(w->env, term, &bin)) {
        return PC_WRONG_TYPE; /* a bitstring */
    }
    w->bytes += bin.size + (bin.size > ON_HEAP ? (size_t)APART_WORDS * WORD : 2 * WORD);
    if (w->to == NULL) {
        return PC_OK;
    }
    enum pc_status status = pay(w, (int64_t)(bin.size / PC_CHECKED_PER_UNIT));
    if (status == PC_OK) {
        put(w, FORM_BINARY, bin.size);
        pc_siphash_bytes(w->to, bin.data, bin.size);
    }
    return status;
}

APART static enum pc_status walk_list(struct walk *w, ERL_NIF_TERM list) {
    ERL_NIF_TERM head;
    enum pc_status status = enter(w);
    put(w, FORM_LIST, 0);
    while (status == PC_OK && enif_get_list_cell(w->env, list, &head, &list)) {
        w->bytes += 2 * WORD;
        status = walk_value(w, head);
    }
    put(w, FORM_END, 0);
    w->depth--;
    return status == PC_OK && !enif_is_empty_list(w->env, list) ? PC_WRONG_TYPE : status;
}

APART static enum pc_status walk_tuple(struct walk *w, ERL_NIF_TERM tuple) {
    int arity;
    const ERL_NIF_TERM *elements;
    (void)enif_get_tuple(w->env, tuple, &arity, &elements);
    enum pc_status status = enter(w);
    put(w, FORM_TUPLE, (uint64_t)arity);
    w->bytes += (1 + (size_t)arity) * WORD;
    for (int i = 0; status == PC_OK && i < arity; i++) {
        status = walk_value(w, elements[i]);
    }
    w->depth--;
    return status;
}

/* One pair of a map, or an element of a set, whose value says nothing. */
static enum pc_status walk_pair(struct walk *w, ERL_NIF_TERM key, ERL_NIF_TERM value, bool is_set, struct hash *hash) {
    struct pc_siphash apart;
    struct pc_siphash *around = w->to;
    enum pc_status status = pay(w, HASH_COST);
    if (status != PC_OK) {
        return status;
    }
    if (around != NULL) {
        pc_siphash_begin(&apart, w->key);
        w->to = &apart;
    }
    status = walk_value(w, key);
    if (status == PC_OK && !is_set) {
        status = walk_value(w, value);
    }
    if (around != NULL) {
        uint8_t tag[PC_SIPHASH_TAG];
        pc_siphash_end(&apart, tag);
        memcpy(hash, tag, sizeof *hash);
    }
    w->to = around;
    return status;
}

static enum pc_status walk_pairs(struct walk *w, ERL_NIF_TERM map, bool is_set, struct hash *hashes) {
    ErlNifMapIterator it;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    enum pc_status status = PC_OK;
    if (!enif_map_iterator_create(w->env, map, &it, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return PC_NO_MEMORY;
    }
    while (status == PC_OK && enif_map_iterator_get_pair(w->env, &it, &key, &value)) {
        status = walk_pair(w, key, value, is_set, hashes);
        if (hashes != NULL) {
            hashes++;
        }
        (void)enif_map_iterator_next(w->env, &it);
    }
    enif_map_iterator_destroy(w->env, &it);
    return status;
}

/* By their bytes, so that machines of either byte order agree. */
static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(struct hash)); }

static enum pc_status put_sorted(struct walk *w, struct hash *hashes, size_t n) {
    enum pc_status status = pay(w, SORT_COST * (int64_t)n);
    if (status != PC_OK || hashes == NULL) {
        return status;
    }
    qsort(hashes, n, sizeof *hashes, compare);
    pc_siphash_bytes(w->to, hashes, n * sizeof *hashes);
    return PC_OK;
}

/* With room for the hashes of all n pairs, or NULL when none are asked for. */
APART static enum pc_status walk_unordered(struct walk *w, ERL_NIF_TERM map, size_t n, bool is_set,
                                           struct hash *hashes) {
    put(w, is_set ? FORM_SET : FORM_MAP, n);
    w->bytes += (5 + 3 * n) * WORD;
    enum pc_status status = walk_pairs(w, map, is_set, hashes);
    return status == PC_OK ? put_sorted(w, hashes, n) : status;
}

APART static enum pc_status walk_few(struct walk *w, ERL_NIF_TERM map, size_t n, bool is_set) {
    struct hash hashes[LOCAL_HASHES];
    return walk_unordered(w, map, n, is_set, hashes);
}

APART static enum pc_status walk_many(struct walk *w, ERL_NIF_TERM map, size_t n, bool is_set) {
    struct hash *hashes = enif_alloc((n + 1) * sizeof *hashes);
    if (hashes == NULL) {
        return PC_NO_MEMORY;
    }
    enum pc_status status = walk_unordered(w, map, n, is_set, hashes);
    enif_free(hashes);
    return status;
}

/* The fields of a MapSet besides its elements differ between versions of Elixir, and mean nothing. */
APART static ERL_NIF_TERM elements_of(struct walk *w, ERL_NIF_TERM map, bool *is_set) {
    ERL_NIF_TERM name;
    ERL_NIF_TERM fields[PC_STRUCT_FIELDS];
    *is_set = enif_get_map_value(w->env, map, am_struct_key, &name) && name == am_map_set &&
              pc_struct_fields(w->env, PC_STRUCT_SET, map, fields) && enif_is_map(w->env, fields[0]);
    w->bytes += *is_set ? STRUCT_WORDS * WORD : 0;
    return *is_set ? fields[0] : map;
}

/* Far down, where the stack is short, hashes are not on it. */
APART static enum pc_status walk_map(struct walk *w, ERL_NIF_TERM map) {
    size_t n;
    bool is_set;
    enum pc_status status = enter(w);
    if (status != PC_OK) {
        return status;
    }
    map = elements_of(w, map, &is_set);
    (void)enif_get_map_size(w->env, map, &n);
    if (w->to == NULL) {
        status = walk_unordered(w, map, n, is_set, NULL);
    } else if (n <= LOCAL_HASHES && w->depth <= LOCAL_LEVELS) {
        status = walk_few(w, map, n, is_set);
    } else {
        status = walk_many(w, map, n, is_set);
    }
    w->depth--;
    return status;
}

static enum pc_status walk_typed(struct walk *w, ERL_NIF_TERM term) {
    switch (enif_term_type(w->env, term)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return walk_atom(w, term);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return walk_integer(w, term);
    case ERL_NIF_TERM_TYPE_FLOAT:
        walk_float(w, term);
        return PC_OK;
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return walk_binary(w, term);
    case ERL_NIF_TERM_TYPE_LIST:
        return walk_list(w, term);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return walk_tuple(w, term);
    case ERL_NIF_TERM_TYPE_MAP:
        return walk_map(w, term);
    default: /* it means something in this VM only, now only, or it could be anything: a fun */
        return PC_WRONG_TYPE;
    }
}

static enum pc_status walk_value(struct walk *w, ERL_NIF_TERM term) {
    enum pc_status status = pay(w, TERM_COST);
    if (status != PC_OK) {
        return status;
    }
    if (pc_is_small(term)) {
        walk_int(w, pc_small_value(term));
        return PC_OK;
    }
    return walk_typed(w, term);
}

static enum pc_status walk_all(struct walk *w, ERL_NIF_TERM term) {
    w->units = w->budget != NULL ? w->budget->units : PC_BUDGET_GRANT;
    enum pc_status status = walk_value(w, term);
    if (w->budget != NULL) {
        w->budget->units = w->units;
    }
    return status;
}

enum pc_status pc_term_key(ErlNifEnv *env, ERL_NIF_TERM term, const uint8_t key[PC_SIPHASH_KEY],
                           struct pc_budget *budget, uint8_t tag[PC_SIPHASH_TAG]) {
    struct pc_siphash whole;
    struct walk w = {.env = env, .key = key, .to = &whole, .budget = budget};
    pc_siphash_begin(&whole, key);
    enum pc_status status = walk_all(&w, term);
    pc_siphash_end(&whole, tag);
    return status;
}

enum pc_status pc_term_weight(ErlNifEnv *env, ERL_NIF_TERM term, struct pc_budget *budget, size_t *bytes) {
    struct walk w = {.env = env, .budget = budget};
    enum pc_status status = walk_all(&w, term);
    *bytes = w.bytes;
    return status;
}
