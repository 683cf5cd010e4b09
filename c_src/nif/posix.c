/* errno values as the atoms that Erlang's file and inet modules use. */
#include <errno.h>
#include <stddef.h>

#include "nif/nif.h"

static const struct {
    int number;
    const char *name;
} names[] = {
    {EACCES, "eacces"}, {EADDRINUSE, "eaddrinuse"}, {EBADF, "ebadf"},
    {EINVAL, "einval"}, {EMFILE, "emfile"},         {ENAMETOOLONG, "enametoolong"},
    {ENFILE, "enfile"}, {ENOBUFS, "enobufs"},       {ENOENT, "enoent"},
    {ENOMEM, "enomem"}, {ENOSPC, "enospc"},         {ENOTDIR, "enotdir"},
    {EPERM, "eperm"},   {EROFS, "erofs"},
};

ERL_NIF_TERM pc_posix_atom(ErlNifEnv *env, int number) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].number == number) {
            return enif_make_atom(env, names[i].name);
        }
    }
    return enif_make_tuple2(env, enif_make_atom(env, "errno"), enif_make_int(env, number));
}
