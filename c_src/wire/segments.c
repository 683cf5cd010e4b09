/*
 * The writer of segment.h. Under the lock are the states of the segments, and packets are sent; memory is made, protected and unmapped outside.
 * A segment that is taken belongs to its taker: until it is lent or free, nobody else looks at its memory.
 * Invariants: `bytes` is the sum of the sizes of all segments that are not NONE, `count` how many those are. The index of one that was given
 * back is used again only when the packet that says so is out, so that the reader learns of both in order.
 */
#include "wire/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/os.h"
#include "wire/clock.h"
#include "wire/segment_private.h"

enum { SPARE_MOST = 16 << 20 }; /* bytes */

enum state { NONE, FREE, TAKEN, LENT };

struct segment {
    enum state state;
    bool protected;      /* those pages that the last use has */
    bool pinned;         /* not free, whatever the reader says */
    bool spare;          /* made before anybody wanted it, and not used yet */
    uint32_t generation; /* of the last use; stays when the segment goes */
    void *memory;        /* NULL: it is being made, or could not be protected */
    size_t size;
    int64_t since; /* when it was found to be free; no two have the same */
};

struct pc_segments {
    struct pc_segments_opts opts;
    pthread_mutex_t lock;
    pthread_cond_t prepared;
    struct segment *preparing; /* taken by pc_segments_prepare; as good as free when it is made; or NULL */
    unsigned count;
    size_t bytes;
    _Atomic size_t wanted; /* the size of which there were not enough; 0: of none. Written under the lock */
    int64_t latest;        /* of all `since` */
    struct segment all[PC_SEGMENTS];
};

/* Memory that is unmapped when the lock is not held any more. */
struct dead {
    unsigned count;
    struct {
        void *memory;
        size_t size;
    } all[PC_SEGMENTS];
};

struct pc_segments *pc_segments_new(const struct pc_segments_opts *opts) {
    struct pc_segments *s = calloc(1, sizeof *s);
    if (s != NULL && pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        s = NULL;
    }
    if (s != NULL) {
        (void)pthread_cond_init(&s->prepared, NULL); /* cannot fail on Linux */
        s->opts = *opts;
    }
    return s;
}

void pc_segments_free(struct pc_segments *s) {
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        if (s->all[i].memory != NULL) {
            (void)munmap(s->all[i].memory, s->all[i].size);
        }
    }
    (void)pthread_cond_destroy(&s->prepared);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static void lock(struct pc_segments *s) { (void)pthread_mutex_lock(&s->lock); }
static void unlock(struct pc_segments *s) { (void)pthread_mutex_unlock(&s->lock); }

static void unmap(const struct dead *dead) {
    for (unsigned i = 0; i < dead->count; i++) {
        (void)munmap(dead->all[i].memory, dead->all[i].size);
    }
}

/* ---- Under the lock */

static void set_free(struct pc_segments *s, struct segment *g) {
    int64_t now = pc_clock_ns();
    s->latest = now > s->latest ? now : s->latest + 1;
    g->state = FREE;
    g->since = s->latest;
}

/* What the reader has let go of is free. What it says about other uses than the last one is not believed. */
static void look_at_board(struct pc_segments *s) {
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        struct segment *g = &s->all[i];
        if (g->state == LENT && !g->pinned &&
            atomic_load_explicit(&s->opts.board->done[i], memory_order_acquire) == g->generation) {
            set_free(s, g);
        }
    }
}

/* Rather the smaller one; of two the one that was used last, whose memory may be in a cache. */
static bool is_better(const struct segment *g, const struct segment *than) {
    return g->size != than->size     ? g->size < than->size
           : g->spare != than->spare ? than->spare
                                     : g->since > than->since;
}

static bool is_for(const struct segment *g, size_t n, size_t size) { return g->size >= n && g->size / 2 <= size; }

/* The best one that is not wasted on so little. */
static struct segment *find_free(struct pc_segments *s, size_t n, size_t size) {
    struct segment *best = NULL;
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        struct segment *g = &s->all[i];
        if (g->state == FREE && g->memory != NULL && is_for(g, n, size) && (best == NULL || is_better(g, best))) {
            best = g;
        }
    }
    return best;
}

static void clear(struct pc_segments *s, struct segment *g) {
    s->count--;
    s->bytes -= g->size;
    *g = (struct segment){.state = NONE, .generation = g->generation};
}

/* A free one is no more, if the reader can be told. */
static bool give_back(struct pc_segments *s, struct segment *g, struct dead *dead) {
    struct pc_segment_packet packet = {.kind = PC_PACKET_FORGET, .index = (uint32_t)(g - s->all)};
    if (pc_segment_packet_send(s->opts.socket, &packet, NULL) != 0) {
        return false;
    }
    if (g->memory != NULL) {
        dead->all[dead->count].memory = g->memory;
        dead->all[dead->count++].size = g->size;
    }
    clear(s, g);
    return true;
}

/* The one that has been free for longest. */
static struct segment *oldest_free(struct pc_segments *s) {
    struct segment *oldest = NULL;
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        struct segment *g = &s->all[i];
        if (g->state == FREE && (oldest == NULL || g->since < oldest->since)) {
            oldest = g;
        }
    }
    return oldest;
}

static void count_in_use(const struct pc_segments *s, unsigned *count, size_t *bytes) {
    *count = 0;
    *bytes = 0;
    for (unsigned i = 0; i < PC_SEGMENTS; i++) {
        if (s->all[i].state == TAKEN || s->all[i].state == LENT) {
            ++*count;
            *bytes += s->all[i].size;
        }
    }
}

/* Gives back free ones until there may be one more of that size; none, if even all would not be enough. */
static bool make_room(struct pc_segments *s, size_t size, struct dead *dead) {
    unsigned in_use;
    size_t bytes_in_use;
    count_in_use(s, &in_use, &bytes_in_use);
    if (in_use == PC_SEGMENTS || bytes_in_use > s->opts.most - size) {
        return false;
    }
    while (s->count == PC_SEGMENTS || s->bytes > s->opts.most - size) {
        if (!give_back(s, oldest_free(s), dead)) {
            return false;
        }
    }
    return true;
}

/* An index for one that is to be made: taken, without memory. */
static struct segment *reserve(struct pc_segments *s, size_t size) {
    struct segment *g = s->all;
    while (g->state != NONE) {
        g++;
    }
    s->count++;
    s->bytes += size;
    g->size = size;
    return g;
}

static struct segment *find(struct pc_segments *s, const struct pc_segment_name *name) {
    return name->index < PC_SEGMENTS && s->all[name->index].generation == name->generation ? &s->all[name->index]
                                                                                           : NULL;
}

/* ---- By the taker, without the lock */

/* Memory, of which the reader has been told. */
static bool make(const struct pc_segments *s, struct segment *g) {
    void *memory;
    struct pc_segment_packet packet = {
        .kind = PC_PACKET_NEW, .index = (uint32_t)(g - s->all), .size = (uint64_t)g->size};
    int fd = pc_os_written_memory(g->size, &memory);
    if (fd < 0) {
        return false;
    }
    bool sent = pc_segment_packet_send(s->opts.socket, &packet, &fd) == 0;
    (void)close(fd);
    if (!sent) {
        (void)munmap(memory, g->size);
        return false;
    }
    g->memory = memory;
    return true;
}

static bool unprotect(struct segment *g) {
    if (g->protected && mprotect(g->memory, g->size, PROT_READ | PROT_WRITE) == 0) {
        g->protected = false;
    }
    return !g->protected;
}

/*
 * The pages of a payload, for it costs as much as a part of the copy and the reader looks at no others. What cannot be protected is not mapped
 * here any more, unless somebody has a pointer to it: the reader's mapping keeps it.
 */
static void protect(struct segment *g, size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = n > 0 ? (n + page - 1) / page : 1;
    if (mprotect(g->memory, pages * page, PROT_READ) == 0) {
        g->protected = true;
    } else if (!g->pinned) {
        (void)munmap(g->memory, g->size);
        g->memory = NULL;
    }
}

/* ---- */

/* One that is there, or will be sooner than one that is made now. */
static struct segment *take_free(struct pc_segments *s, size_t n, size_t size) {
    struct segment *g;
    look_at_board(s);
    while ((g = find_free(s, n, size)) == NULL && s->preparing != NULL && is_for(s->preparing, n, size)) {
        (void)pthread_cond_wait(&s->prepared, &s->lock);
    }
    return g;
}

/* An index for one that is to be made. Where only the one that is being prepared is in the way, that is waited for and given back. */
static struct segment *take_new(struct pc_segments *s, size_t size, struct dead *dead) {
    bool room;
    while (!(room = make_room(s, size, dead)) && s->preparing != NULL) {
        (void)pthread_cond_wait(&s->prepared, &s->lock);
    }
    return room ? reserve(s, size) : NULL;
}

/* Whether the reader keeps such a one while the next is made: so it may go on. */
static bool is_kept(const struct pc_segments *s, size_t n, size_t size) {
    const struct segment *g = s->all;
    while (g < s->all + PC_SEGMENTS && !(g->state == LENT && is_for(g, n, size))) {
        g++;
    }
    return g < s->all + PC_SEGMENTS;
}

static struct segment *take(struct pc_segments *s, size_t n, size_t size, struct dead *dead) {
    struct segment *g = take_free(s, n, size);
    if (g == NULL ? is_kept(s, n, size) : g->spare) {
        s->wanted = size <= SPARE_MOST ? size : 0;
    }
    if (g == NULL) {
        g = take_new(s, size, dead);
    }
    if (g != NULL) {
        g->state = TAKEN;
        g->spare = false;
        g->generation = pc_segment_next(g->generation);
    }
    return g;
}

bool pc_segments_take(struct pc_segments *s, size_t n, struct pc_segment_name *name, void **memory) {
    struct dead dead = {.count = 0};
    size_t size = pc_segment_size(n, s->opts.most);
    if (size == 0) {
        return false;
    }
    lock(s);
    struct segment *g = take(s, n, size, &dead);
    unlock(s);
    unmap(&dead);
    if (g == NULL) {
        return false;
    }
    bool good = g->memory == NULL ? make(s, g) : unprotect(g);
    if (!good) {
        lock(s);
        if (g->memory == NULL) {
            clear(s, g);
        } else {
            set_free(s, g);
        }
        unlock(s);
        return false;
    }
    *name = (struct pc_segment_name){.index = (uint32_t)(g - s->all), .generation = g->generation, .n = n};
    *memory = g->memory;
    return true;
}

bool pc_segments_ready(struct pc_segments *s, size_t n) {
    size_t size = pc_segment_size(n, s->opts.most);
    lock(s);
    look_at_board(s);
    bool ready = size > 0 && find_free(s, n, size) != NULL;
    unlock(s);
    return ready;
}

void pc_segments_lend(struct pc_segments *s, const struct pc_segment_name *name) {
    lock(s);
    struct segment *g = find(s, name);
    bool taken = g != NULL && g->state == TAKEN;
    unlock(s);
    if (!taken) {
        return;
    }
    if (s->opts.protect) {
        protect(g, (size_t)name->n);
    }
    lock(s);
    g->state = LENT;
    unlock(s);
}

/* ---- What can be done before it is wanted */

/* One more than there are, but not of memory that others may need. */
static bool may_have_spare(struct pc_segments *s, size_t size) {
    return size > 0 && s->preparing == NULL && find_free(s, size, size) == NULL && s->count < PC_SEGMENTS &&
           s->bytes <= s->opts.most / 2 && size <= s->opts.most / 2 - s->bytes;
}

bool pc_segments_wants_spare(const struct pc_segments *s) { return s->wanted > 0; }

void pc_segments_prepare(struct pc_segments *s) {
    lock(s);
    size_t size = s->wanted;
    s->wanted = 0;
    look_at_board(s);
    if (may_have_spare(s, size)) {
        struct segment *g = s->preparing = reserve(s, size);
        g->state = TAKEN;
        g->generation = pc_segment_next(g->generation);
        unlock(s);
        bool good = make(s, g);
        lock(s);
        if (good) {
            set_free(s, g);
            g->spare = true;
        } else {
            clear(s, g);
        }
        s->preparing = NULL;
        (void)pthread_cond_broadcast(&s->prepared);
    }
    unlock(s);
}

void pc_segments_cancel(struct pc_segments *s, const struct pc_segment_name *name) {
    lock(s);
    struct segment *g = find(s, name);
    if (g != NULL && (g->state == TAKEN || g->state == LENT)) {
        set_free(s, g);
    }
    unlock(s);
}

static void set_pinned(struct pc_segments *s, const struct pc_segment_name *name, bool pinned) {
    lock(s);
    struct segment *g = find(s, name);
    if (g != NULL) {
        g->pinned = pinned;
    }
    unlock(s);
}

void pc_segments_pin(struct pc_segments *s, const struct pc_segment_name *name) { set_pinned(s, name, true); }

void pc_segments_unpin(struct pc_segments *s, const struct pc_segment_name *name) { set_pinned(s, name, false); }

void pc_segments_trim(struct pc_segments *s, int64_t idle_ns) {
    struct dead dead = {.count = 0};
    lock(s);
    look_at_board(s);
    int64_t now = pc_clock_ns();
    bool heard = true;
    for (unsigned i = 0; i < PC_SEGMENTS && heard; i++) {
        struct segment *g = &s->all[i];
        if (g->state == FREE && now - g->since >= idle_ns) {
            heard = give_back(s, g, &dead);
        }
    }
    unlock(s);
    unmap(&dead);
}

void pc_segments_info(struct pc_segments *s, struct pc_segments_info *info) {
    lock(s);
    look_at_board(s);
    info->count = s->count;
    info->bytes = s->bytes;
    count_in_use(s, &info->in_use, &info->bytes_in_use);
    unlock(s);
}
