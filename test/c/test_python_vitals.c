/* c_src/python/vitals.c: what is due is done once for each wish, and told once; also while the other thread is at it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "codec/reader.h"
#include "python/vitals.h"

enum { LIMIT = 1000, BEFORE = 70, AFTER = 50, TIMES = 2000 };

/* A pong, as far as it is about memory. Of what is not in it the numbers are -1. */
struct pong {
    int64_t trims, trimmed, steps, collects, collected;
    int64_t first_before; /* of the first step, or of the collection */
    bool wake;
};

static int64_t integer(struct pc_reader *r) {
    int64_t n = 0;
    assert_int_equal(pc_read_int(r, &n), PC_OK);
    return n;
}

/* How many numbers the step has been told with is checked; its first one is returned. */
static int64_t step(struct pc_reader *r, uint32_t fields) {
    struct pc_token name;
    assert_int_equal(fields, 5);
    assert_int_equal(pc_reader_next(r, &name), PC_OK);
    int64_t before = integer(r);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pc_reader_skip(r), PC_OK);
    }
    return before;
}

static void read_value(struct pong *p, struct pc_reader *r, const struct pc_token *key) {
    struct pc_token t;
    uint32_t fields;
    if (key->len == 5 && memcmp(key->data, "trims", 5) == 0) {
        p->trims = integer(r);
    } else if (key->len == 7 && memcmp(key->data, "trimmed", 7) == 0) {
        p->trimmed = integer(r);
    } else if (key->len == 8 && memcmp(key->data, "collects", 8) == 0) {
        p->collects = integer(r);
    } else if (key->len == 5 && memcmp(key->data, "steps", 5) == 0) {
        assert_int_equal(pc_reader_next(r, &t), PC_OK);
        p->steps = t.len;
        for (uint32_t i = 0; i < t.len; i++) {
            assert_int_equal(pc_read_array(r, &fields), PC_OK);
            int64_t before = step(r, fields);
            p->first_before = i == 0 ? before : p->first_before;
        }
    } else if (key->len == 9 && memcmp(key->data, "collected", 9) == 0) {
        assert_int_equal(pc_reader_next(r, &t), PC_OK);
        p->collected = t.type != PC_NIL;
        p->first_before = t.type == PC_NIL ? p->first_before : step(r, t.len);
    } else {
        assert_int_equal(pc_reader_skip(r), PC_OK);
    }
}

static struct pong ask(uint64_t asks) {
    uint8_t bytes[512];
    struct pc_writer w;
    pc_writer_init(&w, bytes, sizeof bytes, sizeof bytes, NULL, NULL);
    struct pong p = {-1, -1, -1, -1, -1, -1, pc_vitals_answer(&w, asks, LIMIT, 0)};
    struct pc_reader r;
    struct pc_token map, key;
    pc_reader_init(&r, bytes, w.len);
    assert_int_equal(pc_reader_next(&r, &map), PC_OK);
    for (uint32_t i = 0; i < map.len; i++) {
        assert_int_equal(pc_reader_next(&r, &key), PC_OK);
        read_value(&p, &r, &key);
    }
    assert_int_equal(pc_reader_left(&r), 0);
    return p;
}

static void trim(uint64_t before) {
    struct pc_vitals_step steps[PC_STEPS] = {
        [PC_STEP_COLLECT] = {.done = true, .before = before, .after = before - 10, .objects = 1},
        [PC_STEP_TRIM] = {.done = true, .before = before - 10, .after = before - 20, .objects = -1}};
    pc_vitals_trimmed(steps);
}

static void collect(uint64_t before) {
    struct pc_vitals_step step = {.done = true, .before = before, .after = before - 1, .objects = 3};
    pc_vitals_collected(&step);
}

static int open_vitals(void **state) {
    (void)state;
    pc_vitals_open(NULL);
    return 0;
}

static void a_wish_is_told_of_once(void **state) {
    (void)state;
    assert_int_equal(pc_vitals_due(), 0);
    struct pong p = ask(PC_ASK_TRIM);
    assert_true(p.wake);
    assert_int_equal(p.trims, 0);
    assert_int_equal(p.steps, 0);
    assert_int_equal(pc_vitals_due(), PC_ASK_TRIM);
    assert_int_equal(pc_vitals_limit(), LIMIT);
    trim(BEFORE);
    assert_int_equal(pc_vitals_due(), 0);
    p = ask(PC_ASK_TRIM); /* the answer to the wish before, not another one */
    assert_false(p.wake);
    assert_int_equal(p.trims, 1);
    assert_int_equal(p.trimmed, AFTER);
    assert_int_equal(p.steps, 2);
    assert_int_equal(p.first_before, BEFORE);
    assert_int_equal(pc_vitals_due(), 0);
    p = ask(PC_ASK_MEMORY);
    assert_int_equal(p.trims, 1);
    assert_int_equal(p.trimmed, AFTER);
    assert_int_equal(p.steps, 0);
}

static void collections_are_wishes_of_their_own(void **state) {
    (void)state;
    struct pong p = ask(PC_ASK_COLLECT | PC_ASK_TRIM);
    assert_true(p.wake);
    assert_int_equal(pc_vitals_due(), PC_ASK_COLLECT | PC_ASK_TRIM);
    collect(BEFORE);
    assert_int_equal(pc_vitals_due(), PC_ASK_TRIM);
    p = ask(PC_ASK_COLLECT);
    assert_int_equal(p.collects, 1);
    assert_int_equal(p.collected, 1);
    assert_int_equal(p.first_before, BEFORE);
    assert_int_equal(p.trims, -1);
    p = ask(PC_ASK_COLLECT);
    assert_true(p.wake);
    assert_int_equal(p.collected, 0);
}

static void what_is_not_asked_for_is_not_told(void **state) {
    (void)state;
    struct pong p = ask(0);
    assert_false(p.wake);
    assert_int_equal(p.trims, -1);
    assert_int_equal(p.collects, -1);
}

/* ---- Both threads */

static atomic_bool over;

/* The main thread's part: each time with other numbers, of which the last step's follow from the first one's. */
static void *obey(void *unused) {
    (void)unused;
    uint64_t n = 100;
    while (!atomic_load(&over)) {
        unsigned due = pc_vitals_due();
        if ((due & PC_ASK_TRIM) != 0) {
            trim(n++);
        }
        if ((due & PC_ASK_COLLECT) != 0) {
            collect(n++);
        }
    }
    return NULL;
}

static void no_step_is_told_half(void **state) {
    (void)state;
    pthread_t main_thread;
    int64_t told = 0;
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&main_thread, NULL, obey, NULL), 0);
    for (unsigned i = 0; told < TIMES; i++) {
        struct pong p = ask((i & 1) != 0 ? PC_ASK_TRIM : PC_ASK_TRIM | PC_ASK_COLLECT);
        if (p.wake) {
            (void)sched_yield();
        }
        if (p.steps > 0) {
            told++;
            assert_int_equal(p.trims, told); /* none is left out, none told twice */
            assert_int_equal(p.steps, 2);
        }
    }
    atomic_store(&over, true);
    assert_int_equal(pthread_join(main_thread, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_wish_is_told_of_once, open_vitals),
        cmocka_unit_test_setup(collections_are_wishes_of_their_own, open_vitals),
        cmocka_unit_test_setup(what_is_not_asked_for_is_not_told, open_vitals),
        cmocka_unit_test_setup(no_step_is_told_half, open_vitals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
