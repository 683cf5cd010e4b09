/*
 * A json_t tree to text. jansson hands out the text in pieces of one to a few dozen bytes; they are gathered in a buffer
 * on the C stack, because most texts are short, and move into an ErlNifBinary, which becomes the result as it is, when
 * they outgrow it.
 */

#include <string.h>

#include "json.h"

/* A piece costs a call, a byte jansson's own loop; both in nanoseconds. Characters that must be escaped are pieces of their own. */
enum {
    PIECE_COST = 15,
    BYTE_COST = 5,
};

void pc_json_text_init(struct pc_json_text *text, int64_t budget) {
    text->status = PC_OK;
    text->budget = budget;
    text->data = text->local;
    text->len = 0;
    text->cap = sizeof text->local;
    text->in_bin = false;
}

static bool grow(struct pc_json_text *text, size_t need) {
    size_t cap = need > SIZE_MAX / 2 ? need : 2 * need;
    if (text->in_bin) {
        if (!enif_realloc_binary(&text->bin, cap)) {
            return false;
        }
    } else {
        if (!enif_alloc_binary(cap, &text->bin)) {
            return false;
        }
        text->in_bin = true;
        memcpy(text->bin.data, text->local, text->len);
    }
    text->data = text->bin.data;
    text->cap = text->bin.size;
    return true;
}

/* jansson's callback: 0 to go on. */
static int append(const char *piece, size_t n, void *owner) {
    struct pc_json_text *text = owner;
    text->budget -= PIECE_COST + (int64_t)n * BYTE_COST;
    if (text->budget < 0) {
        text->status = PC_BUDGET;
        return -1;
    }
    if (n > text->cap - text->len && !grow(text, text->len + n)) {
        text->status = PC_NO_MEMORY;
        return -1;
    }
    if (n == 1) {
        text->data[text->len] = (unsigned char)*piece; /* a bracket, a quote, a comma: half of all pieces */
    } else {
        memcpy(text->data + text->len, piece, n);
    }
    text->len += n;
    return 0;
}

enum pc_status pc_json_dump(const json_t *value, size_t flags, struct pc_json_text *text) {
    /* 17 digits tell every float from every other. */
    if (json_dump_callback(value, append, text, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) != 0 &&
        text->status == PC_OK) {
        text->status = PC_NO_MEMORY; /* of jansson's own; the tree itself cannot be at fault */
    }
    return text->status;
}

bool pc_json_text_take(ErlNifEnv *env, struct pc_json_text *text, ERL_NIF_TERM *term) {
    if (!text->in_bin) {
        memcpy(enif_make_new_binary(env, text->len, term), text->local, text->len);
        return true;
    }
    if (!enif_realloc_binary(&text->bin, text->len)) {
        return false;
    }
    *term = enif_make_binary(env, &text->bin);
    text->in_bin = false; /* the term owns it now */
    return true;
}

void pc_json_text_free(struct pc_json_text *text) {
    if (text->in_bin) {
        enif_release_binary(&text->bin);
        text->in_bin = false;
    }
}
