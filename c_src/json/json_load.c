/* Text to a json_t tree: what jansson must not see is refused or changed first, and its errors are put in our shape. */

#include <string.h>

#include "codec/json_scan.h"
#include "json_private.h"

/* The copy whose big integers are floats; NULL when out of memory. */
static char *make_widened(const char *text, size_t n, size_t big, size_t *size) {
    *size = n + 2 * big;
    char *copy = enif_alloc(*size);
    if (copy != NULL) {
        pc_json_widen(text, n, copy);
    }
    return copy;
}

static enum pc_status fail_by_jansson(ErlNifEnv *env, struct pc_json_error *err, const json_error_t *error) {
    char message[JSON_ERROR_TEXT_LENGTH + 80];
    const char *hint = "";
    if (error->text[0] == '\0') { /* only a lack of memory leaves jansson without a word */
        return pc_json_fail(env, err, PC_NO_MEMORY, "out of memory");
    }
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        return pc_json_fail(env, err, PC_NO_MEMORY, "out of memory");
    case json_error_numeric_overflow:
        if (strstr(error->text, "integer") != NULL) {
            hint = " (the option big_integers: float reads it as a float)";
        }
        break;
    default:
        break;
    }
    size_t n = strnlen(error->text, JSON_ERROR_TEXT_LENGTH);
    memcpy(message, error->text, n);
    memcpy(message + n, hint, strlen(hint) + 1);
    return pc_json_fail_at(env, err, PC_INVALID, message, error->line, error->column, (size_t)error->position);
}

static enum pc_status load(ErlNifEnv *env, const char *text, size_t n, bool refuse_duplicates, json_t **value,
                           json_error_t *error, struct pc_json_error *err) {
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | (refuse_duplicates ? JSON_REJECT_DUPLICATES : 0);
    *value = json_loadb(text, n, flags, error);
    return *value != NULL ? PC_OK : fail_by_jansson(env, err, error);
}

static enum pc_status load_widened(ErlNifEnv *env, const char *text, size_t n, size_t big, bool refuse_duplicates,
                                   json_t **value, struct pc_json_error *err) {
    json_error_t error;
    size_t size;
    char *copy = make_widened(text, n, big, &size);
    if (copy == NULL) {
        return pc_json_fail(env, err, PC_NO_MEMORY, "out of memory");
    }
    enum pc_status status = load(env, copy, size, refuse_duplicates, value, &error, err);
    enif_free(copy);
    if (status == PC_INVALID) {
        size_t position = pc_json_narrow(text, n, (size_t)error.position);
        pc_json_place(text, position, &error.line, &error.column);
        error.position = (int)position;
        return fail_by_jansson(env, err, &error);
    }
    return status;
}

static enum pc_status fail_at(ErlNifEnv *env, struct pc_json_error *err, enum pc_status status, const char *message,
                              const char *text, size_t position) {
    int line;
    int column;
    pc_json_place(text, position, &line, &column);
    return pc_json_fail_at(env, err, status, message, line, column, position);
}

static enum pc_status fail_too_deep(ErlNifEnv *env, struct pc_json_error *err, const char *text, size_t position) {
    char message[64];
    (void)enif_snprintf(message, sizeof message, "nested more than %d levels deep", PC_MAX_DEPTH);
    return fail_at(env, err, PC_TOO_DEEP, message, text, position);
}

enum pc_status pc_json_load(ErlNifEnv *env, const char *text, size_t n, const struct pc_json_load_opts *opts,
                            json_t **value, struct pc_json_error *err) {
    json_error_t error;
    size_t position;
    const char *nul = memchr(text, '\0', n);
    if (nul != NULL) { /* jansson reads over one behind a number */
        return fail_at(env, err, PC_INVALID, "a NUL character", text, (size_t)(nul - text) + 1);
    }
    if (!pc_json_depth_within(text, n, PC_MAX_DEPTH, &position)) {
        return fail_too_deep(env, err, text, position);
    }
    size_t big = opts->widen_big_integers ? pc_json_count_big(text, n) : 0;
    return big == 0 ? load(env, text, n, opts->refuse_duplicates, value, &error, err)
                    : load_widened(env, text, n, big, opts->refuse_duplicates, value, err);
}
