/*
 * The reader of segment.h. What comes from the other end is checked before it is mapped, and only compared after that; what breaks the rules is
 * closed, and the index it was for names nothing.
 *
 * Two locks. `receiving` is for who takes packets off the socket, in their order, and maps what came with them. `lock`, which may be taken under the
 * other, is for the table and the counts, and never held over a call of the system: who only lets go of a view waits for no mapping.
 *
 * A mapping is owned by the table until it is forgotten, and by its view while that is out; who is last unmaps it. pc_views lives until
 * pc_views_free has been called and no view is out.
 */
#include "wire/segment.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "wire/segment_private.h"

enum {
    MOST_PACKETS =
        1024, /* that are looked at in one go, lest who sends without end keeps a thread; a socket holds a few hundred */
};

/* A mapping. */
struct pc_view_home {
    struct pc_views *views;
    uint8_t *data;
    size_t size;
    bool out;
    bool listed; /* in the table */
    struct pc_view_home *next;
};

struct pc_views {
    struct pc_views_opts opts;
    struct pc_board *board;
    pthread_mutex_t receiving;
    pthread_mutex_t lock;
    bool closed;
    unsigned count; /* of all mappings, listed or out */
    unsigned out;
    size_t bytes;
    size_t bytes_out;
    struct {
        struct pc_view_home *home; /* NULL: there is none */
        bool lost;                 /* there is one, but it could not be mapped */
        uint32_t generation;       /* of the last use; 0: none so far */
    } all[PC_SEGMENTS];
};

static void lock(struct pc_views *v) { (void)pthread_mutex_lock(&v->lock); }
static void unlock(struct pc_views *v) { (void)pthread_mutex_unlock(&v->lock); }

static void destroy(struct pc_views *v) {
    (void)pthread_mutex_destroy(&v->lock);
    (void)pthread_mutex_destroy(&v->receiving);
    free(v);
}

struct pc_views *pc_views_new(const struct pc_views_opts *opts, struct pc_board *board) {
    struct pc_views *v = calloc(1, sizeof *v);
    if (v == NULL || pthread_mutex_init(&v->receiving, NULL) != 0) {
        free(v);
        return NULL;
    }
    if (pthread_mutex_init(&v->lock, NULL) != 0) {
        (void)pthread_mutex_destroy(&v->receiving);
        free(v);
        return NULL;
    }
    v->opts = *opts;
    v->board = board;
    return v;
}

static void unmap(struct pc_view_home *list) {
    struct pc_view_home *next;
    for (struct pc_view_home *home = list; home != NULL; home = next) {
        next = home->next;
        (void)munmap(home->data, home->size);
        free(home);
    }
}

/* ---- Under the lock */

/* Nobody has it any more: unmapped when the lock is not held. */
static void bury(struct pc_views *v, struct pc_view_home *home, struct pc_view_home **dead) {
    v->count--;
    v->bytes -= home->size;
    home->next = *dead;
    *dead = home;
}

static void forget(struct pc_views *v, uint32_t index, struct pc_view_home **dead) {
    struct pc_view_home *home = v->all[index].home;
    v->all[index].lost = false;
    v->all[index].home = NULL;
    if (home != NULL) {
        home->listed = false;
        if (!home->out) {
            bury(v, home, dead);
        }
    }
}

/*
 * Whether the writer may have one more of that size. An honest one never has more than PC_SEGMENTS, those that it has replaced included, for it
 * replaces none that is out. Only who receives adds any, so what is allowed stays so.
 */
static bool is_allowed(const struct pc_views *v, uint64_t size) {
    return v->count < PC_SEGMENTS && size <= v->opts.most - v->bytes;
}

static void list(struct pc_views *v, uint32_t index, struct pc_view_home *home) {
    v->all[index].home = home;
    v->count++;
    v->bytes += home->size;
}

/* ---- Receiving */

static void *map(const struct pc_views *v, int fd, size_t size) {
    const int use = v->opts.copy_on_write ? PROT_READ | PROT_WRITE : PROT_READ;
    const int way = v->opts.copy_on_write ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
    return mmap(NULL, size, use, way, fd, 0);
}

/* NULL: it breaks the rules; or, with *lost, it could not be mapped. */
static struct pc_view_home *new_home(struct pc_views *v, int fd, size_t size, bool *lost) {
    if (pc_os_check_written_memory(fd, size) != 0) {
        return NULL;
    }
    struct pc_view_home *home = calloc(1, sizeof *home);
    if (home == NULL) {
        *lost = true;
        return NULL;
    }
    void *data = map(v, fd, size);
    if (data == MAP_FAILED) {
        *lost = errno != EACCES; /* that one cannot be read */
        free(home);
        return NULL;
    }
    *home = (struct pc_view_home){.views = v, .data = data, .size = size, .listed = true};
    return home;
}

/* The segment of an index is another one from now on, or none. `fd`, -1 if there is none, is closed. */
static void replace(struct pc_views *v, const struct pc_segment_packet *packet, int fd, bool lost,
                    struct pc_view_home **dead) {
    struct pc_view_home *home = NULL;
    lock(v);
    forget(v, packet->index, dead);
    bool allowed = is_allowed(v, packet->size);
    unlock(v);
    if (fd >= 0) {
        home = allowed ? new_home(v, fd, (size_t)packet->size, &lost) : NULL;
        (void)close(fd);
    }
    lock(v);
    v->all[packet->index].lost = lost;
    if (home != NULL) {
        list(v, packet->index, home);
    }
    unlock(v);
}

/* Drops what is not for an index; of the boards' packet there is only one, which was taken before. */
static void take_packet(struct pc_views *v, const struct pc_segment_packet *packet, bool lost, int fds[PC_PACKET_FDS],
                        struct pc_view_home **dead) {
    if (packet->kind != PC_PACKET_BOARDS && packet->index < PC_SEGMENTS) {
        replace(v, packet, fds[0], lost, dead);
        return;
    }
    pc_segment_packet_close(fds);
}

/* All that has come. What is to be unmapped is put before *dead. */
static void receive(struct pc_views *v, struct pc_view_home **dead) {
    struct pc_segment_packet packet;
    enum pc_packet_status status = PC_PACKET_BAD;
    (void)pthread_mutex_lock(&v->receiving);
    for (int i = 0; i < MOST_PACKETS && status != PC_PACKET_NONE; i++) {
        int fds[PC_PACKET_FDS] = {-1, -1};
        status = pc_segment_packet_receive(v->opts.socket, &packet, fds);
        if (status == PC_PACKET_GOOD || status == PC_PACKET_LOST) {
            take_packet(v, &packet, status == PC_PACKET_LOST, fds, dead);
        }
    }
    (void)pthread_mutex_unlock(&v->receiving);
}

/* ---- */

static enum pc_view_status look_up(struct pc_views *v, const struct pc_segment_name *name) {
    if (name->index >= PC_SEGMENTS || name->generation == 0) {
        return PC_VIEW_BAD;
    }
    const struct pc_view_home *home = v->all[name->index].home;
    uint32_t last = v->all[name->index].generation;
    if (home == NULL) {
        return v->all[name->index].lost ? PC_VIEW_NO_MEMORY : PC_VIEW_BAD;
    }
    bool good = !home->out && name->n <= home->size && (last == 0 || pc_segment_is_after(name->generation, last));
    return good ? PC_VIEW_OK : PC_VIEW_BAD;
}

enum pc_view_status pc_views_get(struct pc_views *v, const struct pc_segment_name *name, struct pc_view *view) {
    struct pc_view_home *dead = NULL;
    receive(v, &dead);
    lock(v);
    enum pc_view_status status = look_up(v, name);
    if (status == PC_VIEW_OK) {
        struct pc_view_home *home = v->all[name->index].home;
        v->all[name->index].generation = name->generation;
        home->out = true;
        v->out++;
        v->bytes_out += home->size;
        *view = (struct pc_view){.data = home->data, .n = (size_t)name->n, .name = *name, .home = home};
    }
    unlock(v);
    unmap(dead);
    return status;
}

/* What was written into the mapping is seen by no later use. If it cannot be dropped, there is none. */
static bool clean(struct pc_views *v, struct pc_view_home *home) {
    if (!v->opts.copy_on_write) {
        return true;
    }
    lock(v);
    bool again = home->listed;
    unlock(v);
    return !again || pc_os_drop_copies(home->data, home->size) == 0;
}

void pc_view_drop(struct pc_view *view) {
    struct pc_view_home *home = view->home;
    struct pc_views *v = home->views;
    struct pc_view_home *dead = NULL;
    bool is_clean = clean(v, home);
    lock(v);
    home->out = false;
    v->out--;
    v->bytes_out -= home->size;
    if (!home->listed) {
        bury(v, home, &dead);
    } else if (!is_clean) {
        forget(v, view->name.index, &dead);
    } else {
        atomic_store_explicit(&v->board->done[view->name.index], view->name.generation, memory_order_release);
    }
    bool last = v->closed && v->out == 0;
    unlock(v);
    unmap(dead);
    if (last) {
        destroy(v);
    }
}

void pc_views_tend(struct pc_views *v) {
    struct pc_view_home *dead = NULL;
    receive(v, &dead);
    unmap(dead);
}

void pc_views_free(struct pc_views *v) {
    struct pc_view_home *dead = NULL;
    lock(v);
    v->closed = true;
    for (uint32_t i = 0; i < PC_SEGMENTS; i++) {
        forget(v, i, &dead);
    }
    bool last = v->out == 0;
    unlock(v);
    unmap(dead);
    if (last) {
        destroy(v);
    }
}

void pc_views_info(struct pc_views *v, struct pc_views_info *info) {
    lock(v);
    *info = (struct pc_views_info){.count = v->count, .out = v->out, .bytes = v->bytes, .bytes_out = v->bytes_out};
    unlock(v);
}
