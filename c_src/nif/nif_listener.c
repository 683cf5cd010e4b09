/*
 * The listening socket. Accepts never block; a peer of another user is closed before a byte of it is read.
 * The descriptor closes in the stop callback, as a channel's does.
 */
#include "nif/nif.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "nif/atoms.h"
#include "nif/channel.h"
#include "os/os.h"

enum { BACKLOG = 512 };

struct pc_listener {
    int fd;
    atomic_bool closing;
    ErlNifPid owner;
    ErlNifMonitor monitor;
};

static ErlNifResourceType *listener_type;

static void close_descriptor(ErlNifEnv *env, struct pc_listener *l) {
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
        atomic_fetch_sub(&pc_nif_state(env)->descriptors, 1);
    }
}

static void listener_stop(ErlNifEnv *env, void *object, ErlNifEvent fd, int direct) {
    (void)fd, (void)direct;
    close_descriptor(env, object);
}

static void listener_dtor(ErlNifEnv *env, void *object) {
    close_descriptor(env, object);
    atomic_fetch_sub(&pc_nif_state(env)->listeners, 1);
}

static void listener_close(ErlNifEnv *env, struct pc_listener *l) {
    if (!atomic_exchange(&l->closing, true)) {
        (void)enif_select(env, l->fd, ERL_NIF_SELECT_STOP, l, NULL, am_undefined);
    }
}

static void listener_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor) {
    (void)pid, (void)monitor;
    listener_close(env, object);
}

int pc_listener_load(ErlNifEnv *env, ErlNifResourceFlags flags) {
    ErlNifResourceTypeInit init = {.dtor = listener_dtor, .stop = listener_stop, .down = listener_down, .members = 3};
    listener_type = enif_init_resource_type(env, "pitcrew_listener", &init, flags, NULL);
    return listener_type == NULL ? -1 : 0;
}

static ERL_NIF_TERM posix_error(ErlNifEnv *env, int number) {
    return enif_make_tuple2(env, am_error, pc_posix_atom(env, number));
}

/* A bound, listening, non-blocking socket; or -errno. */
static int listen_at(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 || listen(fd, BACKLOG) != 0) {
        int number = errno;
        close(fd);
        return -number;
    }
    return fd;
}

ERL_NIF_TERM nif_listen(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    ErlNifBinary path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!enif_inspect_iolist_as_binary(env, argv[0], &path) || path.size == 0) {
        return enif_make_badarg(env);
    }
    if (path.size >= sizeof address.sun_path) {
        return posix_error(env, ENAMETOOLONG);
    }
    memcpy(address.sun_path, path.data, path.size);
    int fd = listen_at(&address);
    if (fd < 0) {
        return posix_error(env, -fd);
    }
    struct pc_listener *l = enif_alloc_resource(listener_type, sizeof *l);
    memset(l, 0, sizeof *l);
    l->fd = fd;
    atomic_fetch_add(&pc_nif_state(env)->listeners, 1);
    atomic_fetch_add(&pc_nif_state(env)->descriptors, 1);
    enif_self(env, &l->owner);
    ERL_NIF_TERM term = enif_make_resource(env, l);
    (void)enif_monitor_process(env, l, &l->owner, &l->monitor);
    enif_release_resource(l);
    return enif_make_tuple2(env, am_ok, term);
}

static ERL_NIF_TERM accepted(ErlNifEnv *env, int fd, pid_t pid, uid_t uid) {
    ERL_NIF_TERM channel = pc_channel_make(env, fd);
    if (channel == 0) {
        return posix_error(env, ENOMEM);
    }
    ERL_NIF_TERM keys[] = {am_pid, am_uid};
    ERL_NIF_TERM values[] = {enif_make_int64(env, pid), enif_make_int64(env, uid)};
    ERL_NIF_TERM peer;
    (void)enif_make_map_from_arrays(env, keys, values, 2, &peer);
    return enif_make_tuple3(env, am_ok, channel, peer);
}

ERL_NIF_TERM nif_accept(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_listener *l;
    ErlNifPid self;
    enif_self(env, &self);
    if (!enif_get_resource(env, argv[0], listener_type, (void **)&l) || enif_compare_pids(&self, &l->owner) != 0) {
        return enif_make_badarg(env);
    }
    if (atomic_load(&l->closing)) {
        return posix_error(env, EBADF);
    }
    for (;;) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            pid_t pid = 0;
            uid_t uid = 0;
            gid_t gid = 0;
            if (pc_os_peer(fd, &pid, &uid, &gid) == 0 && uid == geteuid()) {
                return accepted(env, fd, pid, uid);
            }
            close(fd);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int armed = enif_select(env, l->fd, ERL_NIF_SELECT_READ, l, NULL, argv[1]);
            return armed < 0 ? posix_error(env, EBADF) : am_again;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return posix_error(env, errno);
        }
    }
}

ERL_NIF_TERM nif_close_listener(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    struct pc_listener *l;
    if (!enif_get_resource(env, argv[0], listener_type, (void **)&l)) {
        return enif_make_badarg(env);
    }
    listener_close(env, l);
    return am_ok;
}
