/* Where and why a conversion stopped, and the term that says so. Everything here runs only after a failure. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "codec/reader.h"
#include "json_atoms.h"
#include "json_private.h"

enum pc_status pc_json_fail(ErlNifEnv *env, struct pc_json_error *err, enum pc_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0) {
        err->message[0] = '\0';
    }
    err->status = status;
    err->path = enif_make_list_from_array(env, NULL, 0);
    err->line = 0;
    return status;
}

enum pc_status pc_json_fail_at(ErlNifEnv *env, struct pc_json_error *err, enum pc_status status, const char *message,
                               int line, int column, size_t position) {
    (void)pc_json_fail(env, err, status, "%s; line %d, column %d", message, line, column);
    err->line = line;
    err->column = column;
    err->position = (int)position;
    return status;
}

enum pc_status pc_json_unwind(ErlNifEnv *env, struct pc_json_error *err, ERL_NIF_TERM step) {
    err->path = enif_make_list_cell(env, step, err->path);
    return err->status;
}

/* As far as it is UTF-8: a message that was cut may end inside a character. */
static ERL_NIF_TERM make_message(ErlNifEnv *env, const char *text) {
    size_t n = strlen(text);
    while (n > 0 && !pc_utf8_valid(text, n)) {
        n--;
    }
    ERL_NIF_TERM message;
    memcpy(enif_make_new_binary(env, n, &message), text, n);
    return message;
}

static ERL_NIF_TERM make_place(ErlNifEnv *env, const struct pc_json_error *err) {
    ERL_NIF_TERM keys[] = {am_line, am_column, am_position};
    ERL_NIF_TERM values[] = {enif_make_int(env, err->line), enif_make_int(env, err->column),
                             enif_make_int(env, err->position)};
    ERL_NIF_TERM map = am_undefined;
    (void)enif_make_map_from_arrays(env, keys, values, sizeof keys / sizeof keys[0], &map);
    return map;
}

ERL_NIF_TERM pc_json_error_make(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_json_error *err) {
    ERL_NIF_TERM keys[] = {am_kind, am_message, am_path, am_reason};
    ERL_NIF_TERM values[] = {kind, make_message(env, err->message), err->path,
                             err->line > 0 ? make_place(env, err) : am_undefined};
    ERL_NIF_TERM map = kind;
    (void)enif_make_map_from_arrays(env, keys, values, err->line > 0 ? 4 : 3, &map);
    return map;
}
