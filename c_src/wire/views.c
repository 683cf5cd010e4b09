/*
 * The reader of segment.h. What comes from the other end is checked before it is mapped, and only compared after that; what breaks the rules is
 * closed, and the index it was for names nothing. A segment is mapped under the lock, when its descriptor comes; it is unmapped, and its
 * copied pages are dropped, outside.
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

struct pc_views *pc_views_new(const struct pc_views_opts *opts, struct pc_board *board) {
    struct pc_views *v = calloc(1, sizeof *v);
    if (v != NULL && pthread_mutex_init(&v->lock, NULL) != 0) {
        free(v);
        v = NULL;
    }
    if (v != NULL) {
        v->opts = *opts;
        v->board = board;
    }
    return v;
}

static void destroy(struct pc_views *v) {
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
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

static uint8_t *map(const struct pc_views *v, int fd, size_t size) {
    const int use = v->opts.copy_on_write ? PROT_READ | PROT_WRITE : PROT_READ;
    const int way = v->opts.copy_on_write ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
    void *data = mmap(NULL, size, use, way, fd, 0);
    return data == MAP_FAILED ? NULL : data;
}

/*
 * A segment, if the writer may have it. An honest one never has more than PC_SEGMENTS, those that it has replaced included, for it
 * replaces none that is out.
 */
static void add(struct pc_views *v, const struct pc_segment_packet *packet, int fd) {
    if (v->count == PC_SEGMENTS || packet->size > v->opts.most - v->bytes ||
        pc_os_check_written_memory(fd, (size_t)packet->size) != 0) {
        return;
    }
    struct pc_view_home *home = calloc(1, sizeof *home);
    uint8_t *data = home != NULL ? map(v, fd, (size_t)packet->size) : NULL;
    if (data == NULL) {
        v->all[packet->index].lost = home == NULL || errno != EACCES; /* that one cannot be read */
        free(home);
        return;
    }
    home->views = v;
    home->data = data;
    home->size = (size_t)packet->size;
    home->listed = true;
    v->all[packet->index].home = home;
    v->count++;
    v->bytes += home->size;
}

static void drain(struct pc_views *v, struct pc_view_home **dead) {
    struct pc_segment_packet packet;
    int fds[PC_PACKET_FDS];
    enum pc_packet_status status;
    for (int i = 0; i < MOST_PACKETS; i++) {
        status = pc_segment_packet_receive(v->opts.socket, &packet, fds);
        if (status == PC_PACKET_NONE) {
            return;
        }
        bool known = status != PC_PACKET_BAD && packet.index < PC_SEGMENTS && packet.kind != PC_PACKET_BOARDS;
        if (known) {
            forget(v, packet.index, dead);
        }
        if (known && status == PC_PACKET_LOST) {
            v->all[packet.index].lost = true;
        }
        if (status == PC_PACKET_GOOD && packet.kind == PC_PACKET_NEW) {
            if (known) {
                add(v, &packet, fds[0]);
            }
            (void)close(fds[0]);
        }
        if (status == PC_PACKET_GOOD && packet.kind == PC_PACKET_BOARDS) { /* not a second time */
            (void)close(fds[0]);
            (void)close(fds[1]);
        }
    }
}

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

/* ---- */

enum pc_view_status pc_views_get(struct pc_views *v, const struct pc_segment_name *name, struct pc_view *view) {
    struct pc_view_home *dead = NULL;
    lock(v);
    drain(v, &dead);
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
    lock(v);
    drain(v, &dead);
    unlock(v);
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
