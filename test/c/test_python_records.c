/* c_src/python/records.c: what goes in comes out in order, as far as there is credit, or is counted; also with many threads. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "codec/reader.h"
#include "python/records.h"
#include "wire/kinds.h"

enum { PLENTY = 1 << 30 };

static struct pc_outbox out;

/* Of a log frame `number` is its id; of stats it is what was dropped. */
struct frame {
    int64_t kind;
    uint64_t id, number;
    size_t n;
};

static size_t make(uint8_t *frame, size_t size, uint64_t number) {
    struct pc_writer w;
    pc_writer_init(&w, frame, size, size, NULL, NULL);
    size_t mark = pc_write_frame_begin(&w);
    pc_write_array(&w, 3);
    pc_write_int(&w, PC_KIND_LOG);
    pc_write_uint(&w, number);
    pc_write_bin_header(&w, size - w.len - 5);
    size_t rest = size - w.len;
    memset(pc_writer_claim(&w, rest), (int)(number % 251), rest);
    pc_write_frame_end(&w, mark);
    assert_int_equal(w.status, PC_OK);
    return w.len;
}

static bool put(uint64_t number, size_t size) {
    uint8_t *frame = malloc(size);
    assert_non_null(frame);
    bool open = pc_records_put(PC_RECORDS_LOGS, frame, make(frame, size, number)) != PC_RECORDS_CLOSED;
    free(frame);
    return open;
}

static size_t read_frame(const uint8_t *bytes, size_t left, struct frame *f) {
    struct pc_reader r;
    uint32_t count;
    assert_true(left >= PC_FRAME_HEADER);
    f->n = PC_FRAME_HEADER + pc_frame_length(bytes);
    assert_true(f->n <= left);
    pc_reader_init(&r, bytes + PC_FRAME_HEADER, f->n - PC_FRAME_HEADER);
    assert_int_equal(pc_read_array(&r, &count), PC_OK);
    assert_int_equal(pc_read_int(&r, &f->kind), PC_OK);
    assert_int_equal(pc_read_uint(&r, &f->number), PC_OK);
    f->id = f->number;
    if (f->kind == PC_KIND_STATS) {
        const char *name;
        uint32_t name_n;
        assert_int_equal(pc_read_map(&r, &count), PC_OK);
        assert_int_equal(pc_read_str(&r, &name, &name_n), PC_OK);
        assert_int_equal(pc_read_uint(&r, &f->number), PC_OK);
    } else {
        assert_int_equal(bytes[f->n - 1], f->number % 251);
    }
    return f->n;
}

/* Takes once, as if all of it were sent at once. */
static size_t take(struct frame *frames, size_t most) {
    size_t count = 0, at = 0;
    if (pc_records_take(&out)) {
        assert_true(out.w.len <= PC_RECORDS_BATCH + 128);
        while (at < out.w.len) {
            assert_true(count < most);
            at += read_frame(out.w.data + at, out.w.len - at, &frames[count++]);
        }
    }
    pc_outbox_undo(&out, 0);
    return count;
}

static int begin(void **state) {
    (void)state;
    pc_outbox_init(&out);
    return 0;
}

static int end(void **state) {
    (void)state;
    pc_records_close();
    pc_outbox_destroy(&out);
    return 0;
}

static void test_closed(void **state) {
    (void)state;
    struct frame f[1];
    pc_records_open(PC_RECORDS_LOGS, 0);
    assert_false(put(1, 100));
    assert_int_equal(take(f, 1), 0);
    assert_int_equal(pc_records_alarm(), -1);
    pc_records_open(PC_RECORDS_LOGS, 1);
    pc_records_close();
    assert_false(put(1, 100));
}

static void test_order_round_the_ring(void **state) {
    (void)state;
    struct frame f[64];
    uint64_t in = 0, seen = 0;
    pc_records_open(PC_RECORDS_LOGS, PLENTY);
    for (size_t turn = 0; turn < 3000; turn++) {
        for (size_t i = 0; i < turn % 7; i++) {
            assert_true(put(++in, 40 + (turn * 997 + i * 31) % 3000));
        }
        size_t n = take(f, 64);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(f[i].kind, PC_KIND_LOG);
            assert_int_equal(f[i].number, ++seen);
        }
    }
    assert_int_equal(seen, in);
    assert_int_equal(take(f, 64), 0);
}

static void test_no_more_than_the_credit(void **state) {
    (void)state;
    struct frame f[16];
    pc_records_open(PC_RECORDS_LOGS, 3);
    for (uint64_t i = 1; i <= 10; i++) {
        assert_true(put(i, 100));
    }
    assert_int_equal(take(f, 16), 3);
    assert_int_equal(take(f, 16), 0);
    pc_records_credit(PC_RECORDS_LOGS, 5);
    assert_int_equal(take(f, 16), 5);
    assert_int_equal(f[0].number, 4);
    pc_records_credit(PC_RECORDS_LOGS, 100);
    assert_int_equal(take(f, 16), 2);
}

static void test_what_finds_no_room_is_counted(void **state) {
    (void)state;
    enum { SIZE = 1000, FITS = PC_RECORDS_ROOM / SIZE };
    struct frame f[64];
    uint64_t arrived = 0, dropped = 0;
    pc_records_open(PC_RECORDS_LOGS, PLENTY);
    for (uint64_t i = 1; i <= FITS + 25; i++) {
        assert_true(put(i, SIZE));
    }
    assert_true(put(0, PC_RECORDS_BATCH + 1)); /* and what is larger than a batch */
    for (size_t n = take(f, 64); n > 0; n = take(f, 64)) {
        for (size_t i = 0; i < n; i++) {
            if (f[i].kind == PC_KIND_STATS) {
                dropped += f[i].number;
            } else {
                assert_int_equal(f[i].number, ++arrived);
            }
        }
    }
    assert_int_equal(arrived, FITS);
    assert_int_equal(dropped, 26);
    assert_true(put(1, PC_RECORDS_BATCH));
    assert_int_equal(take(f, 64), 1);
}

static void test_the_alarm_rings_once_there_is_something(void **state) {
    (void)state;
    struct frame f[4];
    pc_records_open(PC_RECORDS_LOGS, 2);
    struct pollfd p = {.fd = pc_records_alarm(), .events = POLLIN};
    assert_true(p.fd >= 0);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_true(put(1, 100));
    assert_int_equal(poll(&p, 1, 10000), 1);
    pc_records_tick();
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(take(f, 4), 1);
    /* A tool has put another descriptor in its place: that is left alone, and nothing else changes. */
    int other[2];
    assert_int_equal(pipe(other), 0);
    assert_int_equal(dup2(other[0], p.fd), p.fd);
    assert_true(put(2, 100));
    assert_int_equal(pc_records_alarm(), -1);
    assert_int_equal(take(f, 4), 1);
    assert_int_equal(close(p.fd), 0);
    assert_int_equal(close(other[0]), 0);
    assert_int_equal(close(other[1]), 0);
}

/* Each sort has a ring and credit of its own, and stats say which it was. */
static void test_sorts_do_not_disturb_each_other(void **state) {
    (void)state;
    struct frame f[64];
    uint8_t frame[100];
    size_t n = make(frame, sizeof frame, 7);
    pc_records_open(PC_RECORDS_EVENTS, 2);
    assert_int_equal(pc_records_put(PC_RECORDS_LOGS, frame, n), PC_RECORDS_CLOSED);
    pc_records_open(PC_RECORDS_LOGS, 2);
    unsigned events = 0;
    while (pc_records_put(PC_RECORDS_EVENTS, frame, n) == PC_RECORDS_TAKEN) {
        events++;
    }
    assert_int_equal(events, PC_RECORDS_ROOM / n);
    assert_int_equal(pc_records_put(PC_RECORDS_EVENTS, frame, n), PC_RECORDS_DROPPED);
    assert_true(put(1, 100) && put(2, 100) && put(3, 100));
    assert_int_equal(take(f, 64), 2); /* logs */
    assert_int_equal(f[0].number, 1);
    assert_int_equal(take(f, 64), 3); /* events, and how many of them were dropped */
    assert_int_equal(f[0].number, 7);
    assert_int_equal(f[2].kind, PC_KIND_STATS);
    assert_int_equal(f[2].number, 2);
    assert_int_equal(f[2].id, PC_KIND_EVENT);
    pc_records_credit(PC_RECORDS_EVENTS, 1);
    assert_int_equal(take(f, 64), 1);
    assert_int_equal(f[0].number, 7);
    assert_int_equal(take(f, 64), 0);
}

enum { THREADS = 4, EACH = 5000 };
static _Atomic int at_work;

static void *produce(void *arg) {
    const uint64_t thread = *(const uint64_t *)arg;
    for (uint64_t i = 1; i <= EACH; i++) {
        (void)put(thread * EACH + i, 100 + (size_t)(i * 37 % 900));
    }
    at_work--;
    return NULL;
}

/* Each record arrives once, in its thread's order, or is counted. */
static void test_many_threads(void **state) {
    (void)state;
    static const uint64_t names[THREADS] = {0, 1, 2, 3};
    pthread_t threads[THREADS];
    struct frame f[1024];
    uint64_t last[THREADS] = {0}, arrived = 0, dropped = 0;
    pc_records_open(PC_RECORDS_LOGS, 100);
    at_work = THREADS;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, produce, (void *)(uintptr_t)&names[i]), 0);
    }
    bool working;
    size_t n;
    do {
        working = at_work > 0;
        pc_records_tick();
        n = take(f, 1024);
        for (size_t i = 0; i < n; i++) {
            if (f[i].kind == PC_KIND_STATS) {
                dropped += f[i].number;
                continue;
            }
            uint64_t thread = (f[i].number - 1) / EACH;
            assert_true(f[i].number > last[thread]);
            last[thread] = f[i].number;
            arrived++;
        }
        pc_records_credit(PC_RECORDS_LOGS, n);
        if (n == 0) {
            (void)sched_yield();
        }
    } while (working || n > 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(arrived + dropped, THREADS * EACH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_closed, begin, end),
        cmocka_unit_test_setup_teardown(test_order_round_the_ring, begin, end),
        cmocka_unit_test_setup_teardown(test_no_more_than_the_credit, begin, end),
        cmocka_unit_test_setup_teardown(test_what_finds_no_room_is_counted, begin, end),
        cmocka_unit_test_setup_teardown(test_the_alarm_rings_once_there_is_something, begin, end),
        cmocka_unit_test_setup_teardown(test_sorts_do_not_disturb_each_other, begin, end),
        cmocka_unit_test_setup_teardown(test_many_threads, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
