/*
 * Both ends of wire/segment.h, each used by several threads: writers take, fill, lend, cancel; readers get, check, write over their copies and let
 * go in another order; one more trims and tends meanwhile, and one makes spare ones. Channels end with views out, which are let go of while the reader is freed. What was
 * read is what was written, and nothing is left. Under ThreadSanitizer: make -C c_src races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "segment_world.h"

enum {
    WRITERS = 3,
    READERS = 3,
    CHANNELS = 16,
    USES = 150,
    HELD = 3,
    APART = 64 /* words, of those that are looked at */
};

/* cmocka's assertions are for one thread. */
#define demand(truth)                                                                                                  \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What a frame would say. */
struct message {
    struct pc_segment_name name;
    uint64_t word;
};

struct channel {
    struct world w;
    bool copy_on_write;
    int frames[2]; /* a pipe: [0] for the readers */
    atomic_bool over;
    pthread_barrier_t ending; /* of the readers and of who frees */
};

struct worker {
    struct channel *channel;
    unsigned seed;
    pthread_t thread;
};

static atomic_uint lent, cancelled, refused, late, asked;

static void fill(void *memory, size_t n, uint64_t word) {
    uint64_t *words = memory;
    for (size_t i = 0; i < n / sizeof word; i += APART) {
        words[i] = word;
    }
}

static bool is_filled(const void *memory, size_t n, uint64_t word) {
    const uint64_t *words = memory;
    for (size_t i = 0; i < n / sizeof word; i += APART) {
        if (words[i] != word) {
            return false;
        }
    }
    return true;
}

static void *writer(void *argument) {
    struct worker *me = argument;
    struct channel *c = me->channel;
    for (uint64_t i = 0; i < USES; i++) {
        size_t n = (size_t)(64 * KIB + (unsigned)rand_r(&me->seed) % (256 * KIB));
        struct message message = {.word = (uint64_t)me->seed << 32 | i};
        void *memory;
        while (!pc_segments_take(c->w.s, n, &message.name, &memory)) { /* the readers cannot hold all */
            atomic_fetch_add(&refused, 1);
            sched_yield();
        }
        fill(memory, n, message.word);
        int how = rand_r(&me->seed) % 16;
        if (how != 0) {
            pc_segments_lend(c->w.s, &message.name);
        }
        if (how < 2) {
            atomic_fetch_add(&cancelled, 1);
            pc_segments_cancel(c->w.s, &message.name);
        } else {
            atomic_fetch_add(&lent, 1);
            demand(write(c->frames[1], &message, sizeof message) == sizeof message);
        }
    }
    return NULL;
}

struct held {
    struct pc_view view;
    uint64_t word;
};

static void let_go(struct channel *c, struct held *held) {
    demand(is_filled(held->view.data, held->view.n, held->word));
    if (c->copy_on_write) {
        fill((void *)(uintptr_t)held->view.data, held->view.n, ~held->word);
        demand(is_filled(held->view.data, held->view.n, ~held->word));
    }
    pc_view_drop(&held->view);
    held->view.home = NULL;
}

static void *reader(void *argument) {
    struct worker *me = argument;
    struct channel *c = me->channel;
    struct held held[HELD] = {{.word = 0}};
    struct message message;
    while (read(c->frames[0], &message, sizeof message) == sizeof message) {
        struct held *slot = &held[(unsigned)rand_r(&me->seed) % HELD];
        if (slot->view.home != NULL) {
            let_go(c, slot);
        }
        slot->word = message.word;
        demand(pc_views_get(c->w.v, &message.name, &slot->view) == PC_VIEW_OK);
        demand(is_filled(slot->view.data, slot->view.n, slot->word));
    }
    (void)pthread_barrier_wait(&c->ending);
    for (int i = 0; i < HELD; i++) {
        if (held[i].view.home != NULL) {
            atomic_fetch_add(&late, 1);
            let_go(c, &held[i]);
        }
    }
    return NULL;
}

static void *tender(void *argument) {
    struct worker *me = argument;
    struct channel *c = me->channel;
    while (!atomic_load(&c->over)) {
        struct pc_segments_info segments;
        struct pc_views_info views;
        switch (rand_r(&me->seed) % 4) {
        case 0:
            pc_segments_trim(c->w.s, 100 * 1000);
            break;
        case 1:
            pc_views_tend(c->w.v);
            break;
        case 2:
            pc_segments_info(c->w.s, &segments);
            demand(segments.in_use <= segments.count && segments.count <= PC_SEGMENTS);
            break;
        default:
            pc_views_info(c->w.v, &views);
            demand(views.out <= views.count && views.count <= PC_SEGMENTS);
        }
        sched_yield();
    }
    return NULL;
}

static void *preparer(void *argument) {
    struct worker *me = argument;
    struct channel *c = me->channel;
    while (!atomic_load(&c->over)) {
        if (pc_segments_wants_spare(c->w.s)) {
            atomic_fetch_add(&asked, 1);
            pc_segments_prepare(c->w.s);
        }
        sched_yield();
    }
    return NULL;
}

static void start(struct worker *me, struct channel *c, void *(*what)(void *), unsigned seed) {
    me->channel = c;
    me->seed = seed;
    assert_int_equal(pthread_create(&me->thread, NULL, what, me), 0);
}

static void join(const struct worker *me) { assert_int_equal(pthread_join(me->thread, NULL), 0); }

/* The descriptors and mappings of all of it are as before, which world_end looks at. */
static void one_channel(unsigned seed, struct world_opts opts) {
    static struct channel channel;
    struct channel *c = &channel;
    struct worker writers[WRITERS], readers[READERS], tends, prepares;
    memset(c, 0, sizeof *c);
    c->copy_on_write = opts.copy_on_write;
    assert_int_equal(pthread_barrier_init(&c->ending, NULL, READERS + 1), 0);
    world_begin(&c->w, opts);
    assert_int_equal(pipe(c->frames), 0);
    start(&tends, c, tender, seed);
    start(&prepares, c, preparer, seed);
    for (unsigned i = 0; i < WRITERS; i++) {
        start(&writers[i], c, writer, seed * 100 + i);
    }
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], c, reader, seed * 100 + 50 + i);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        join(&writers[i]);
    }
    atomic_store(&c->over, true);
    join(&tends);
    join(&prepares);
    close(c->frames[1]);
    (void)pthread_barrier_wait(&c->ending);
    pc_segments_free(c->w.s);
    pc_views_free(c->w.v);
    c->w.s = NULL;
    c->w.v = NULL;
    for (unsigned i = 0; i < READERS; i++) {
        join(&readers[i]);
    }
    close(c->frames[0]);
    (void)pthread_barrier_destroy(&c->ending);
    world_end(&c->w);
}

static void races(void **state) {
    (void)state;
    for (unsigned i = 1; i <= CHANNELS; i++) {
        one_channel(i, (struct world_opts){.most = 4 * MIB, .protect = i % 2 != 0, .copy_on_write = i % 4 < 2});
    }
    print_message(
        "%u lent, %u cancelled, %u refused, %u views outlived their channel, %u times one was to be prepared\n",
        atomic_load(&lent), atomic_load(&cancelled), atomic_load(&refused), atomic_load(&late), atomic_load(&asked));
    assert_true(atomic_load(&late) > 0);
    assert_true(atomic_load(&asked) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(races)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
