/* Where and why a conversion stopped, and the term that says so. Everything here runs only after a failure. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "atoms.h"
#include "term_private.h"

enum pc_status pc_term_fail(ErlNifEnv *env, struct pc_term_error *err, enum pc_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0) {
        err->message[0] = '\0';
    }
    err->status = status;
    err->struct_name = 0;
    err->ref = 0;
    err->is_function = false;
    err->is_stopped = false;
    err->path = enif_make_list_from_array(env, NULL, 0);
    return status;
}

enum pc_status pc_term_refuse(ErlNifEnv *env, struct pc_term_error *err, enum pc_status status) {
    return pc_term_fail(env, err, status, "%s", pc_status_text(status));
}

enum pc_status pc_term_unwind(ErlNifEnv *env, struct pc_term_error *err, ERL_NIF_TERM step) {
    err->path = enif_make_list_cell(env, step, err->path);
    return err->status;
}

enum pc_status pc_term_stop_here(ErlNifEnv *env, struct pc_term_error *err, const char *where) {
    if (!err->is_stopped) {
        size_t n = strlen(err->message);
        (void)snprintf(err->message + n, sizeof err->message - n, " (%s)", where);
        err->is_stopped = true;
    }
    err->path = enif_make_list_from_array(env, NULL, 0);
    return err->status;
}

ERL_NIF_TERM pc_term_error_make(ErlNifEnv *env, ERL_NIF_TERM kind, const struct pc_term_error *err) {
    const char *text = err->message[0] != '\0' ? err->message : pc_status_text(err->status);
    size_t n = strlen(text);
    /* A message that was cut may end inside a character. */
    while (n > 0 && !pc_utf8_valid(text, n)) {
        n--;
    }
    ERL_NIF_TERM message;
    unsigned char *place = enif_make_new_binary(env, n, &message);
    memcpy(place, text, n);
    ERL_NIF_TERM keys[] = {am_kind, am_message, am_path,
                           err->ref != 0      ? am_ref
                           : err->is_function ? am_function
                                              : am_struct};
    ERL_NIF_TERM values[] = {err->status == PC_TOO_BIG ? am_too_big : kind, message, err->path,
                             err->ref != 0      ? err->ref
                             : err->is_function ? am_true
                                                : err->struct_name};
    ERL_NIF_TERM map;
    if (!enif_make_map_from_arrays(env, keys, values, values[3] != 0 ? 4 : 3, &map)) {
        return kind;
    }
    return map;
}
