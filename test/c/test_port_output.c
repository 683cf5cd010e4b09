/* c_src/port/output.c: messages before lines, lines against credit, nothing lost but lines, never blocking. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "codec/reader.h"
#include "port/messages.h"
#include "port/output.h"

/* A pipe that the output writes to and the test reads. */
struct fixture {
    struct pc_output o;
    int in;
    size_t len;
    uint8_t bytes[4 << 20];
};

static int setup(void **state) {
    int ends[2];
    struct fixture *f = calloc(1, sizeof *f);
    signal(SIGPIPE, SIG_IGN);
    if (f == NULL || pipe2(ends, O_NONBLOCK) < 0) {
        return -1;
    }
    f->in = ends[0];
    pc_output_init(&f->o, ends[1]);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pc_output_destroy(&f->o);
    close(f->o.fd);
    if (f->in >= 0) {
        close(f->in);
    }
    free(f);
    return 0;
}

static void read_all(struct fixture *f) {
    ssize_t n;
    while ((n = read(f->in, f->bytes + f->len, sizeof f->bytes - f->len)) > 0) {
        f->len += (size_t)n;
    }
}

/* The next message, as "name number" ("log" gives the length of its line); empty when there is no whole one. */
static const char *next(struct fixture *f) {
    static char text[128];
    struct pc_reader r;
    const char *name;
    const uint8_t *line;
    uint32_t count, n, fields;
    int64_t number = 0;
    text[0] = '\0';
    if (f->len < 4) {
        return text;
    }
    size_t size = pc_frame_length(f->bytes);
    if (f->len < 4 + size) {
        return text;
    }
    pc_reader_init(&r, f->bytes + 4, size);
    assert_int_equal(pc_read_array(&r, &fields), PC_OK);
    assert_int_equal(pc_read_str(&r, &name, &n), PC_OK);
    assert_int_equal(pc_read_int(&r, &number), PC_OK);
    if (n == 3) {
        assert_int_equal(pc_read_array(&r, &count), PC_WRONG_TYPE);
        assert_int_equal(pc_read_int(&r, &number), PC_OK);
        assert_int_equal(pc_read_bytes(&r, &line, &count), PC_OK);
        number = count;
    }
    snprintf(text, sizeof text, "%.*s %d", (int)n, name, (int)number);
    f->len -= 4 + size;
    memmove(f->bytes, f->bytes + 4 + size, f->len);
    return text;
}

static void push(struct fixture *f, size_t n) {
    static const uint8_t line[PC_LINE_MAX];
    pc_output_line(&f->o, 7, 1, line, n);
}

static void test_messages_first(void **state) {
    struct fixture *f = *state;
    push(f, 10);
    pc_output_credit(&f->o, 1000);
    pc_message_forked(&f->o, 5, 100);
    pc_output_flush(&f->o);
    read_all(f);
    assert_string_equal(next(f), "forked 5");
    assert_string_equal(next(f), "log 10");
    assert_string_equal(next(f), "");
    assert_false(pc_output_pending(&f->o));
}

static void test_credit(void **state) {
    struct fixture *f = *state;
    push(f, 0);
    push(f, 5);
    assert_false(pc_output_pending(&f->o));
    pc_output_credit(&f->o, PC_LINE_COST - 1);
    assert_false(pc_output_pending(&f->o));
    pc_output_credit(&f->o, 1 + 5 + PC_LINE_COST - 1);
    assert_true(pc_output_pending(&f->o));
    pc_output_flush(&f->o);
    read_all(f);
    assert_string_equal(next(f), "log 0");
    assert_string_equal(next(f), "");
    pc_output_credit(&f->o, 1);
    pc_output_flush(&f->o);
    read_all(f);
    assert_string_equal(next(f), "log 5");
    assert_int_equal(f->o.credit, 0);
    pc_output_credit(&f->o, UINT64_MAX);
    pc_output_credit(&f->o, 5);
    assert_true(f->o.credit == UINT64_MAX);
}

static const char *told(struct fixture *f) {
    pc_output_flush(&f->o);
    read_all(f);
    return next(f);
}

/* Once a second, without credit, but not before other messages. */
static void test_what_was_dropped_is_told(void **state) {
    struct fixture *f = *state;
    char expected[32];
    size_t kept = PC_RING_SIZE / (PC_LINE_MAX + sizeof(struct pc_line));
    assert_int_equal(pc_output_report_at(&f->o), 0);
    for (size_t i = 0; i < kept + 14; i++) {
        push(f, PC_LINE_MAX);
    }
    pc_message_forked(&f->o, 5, 100);
    assert_int_equal(pc_output_report_at(&f->o), 0);
    pc_output_report(&f->o, 5000);
    assert_string_equal(told(f), "forked 5");
    assert_string_equal(told(f), "");
    assert_true(pc_output_report_at(&f->o) > 0 && pc_output_report_at(&f->o) <= 5000);
    pc_output_report(&f->o, 5000);
    assert_string_equal(told(f), "dropped 14");
    assert_int_equal(f->o.ring.dropped_lines, 0);

    pc_output_drop(&f->o, 10);
    pc_output_report(&f->o, 5999);
    assert_string_equal(told(f), "");
    assert_int_equal(pc_output_report_at(&f->o), 6000);
    pc_output_drop(&f->o, 10);
    pc_output_report(&f->o, 6000);
    assert_string_equal(told(f), "dropped 2");

    /* At the end at once, with the lines that nobody gave credit for. */
    pc_output_drop(&f->o, 10);
    pc_output_finish(&f->o);
    snprintf(expected, sizeof expected, "dropped %d", (int)kept + 1);
    assert_string_equal(told(f), expected);
    assert_int_equal(f->o.ring.used, 0);
    pc_output_finish(&f->o);
    assert_string_equal(told(f), "");
}

/* A reader that does nothing: the descriptor fills up, messages are kept, every one of them, in order. */
static void test_slow_reader(void **state) {
    struct fixture *f = *state;
    enum { N = 20000 };
    char expected[32];
    pc_output_credit(&f->o, UINT64_MAX);
    for (int i = 0; i < N; i++) {
        pc_message_forked(&f->o, (uint32_t)i, 1 << 20);
        push(f, 100);
        pc_output_flush(&f->o);
    }
    assert_true(pc_output_pending(&f->o));
    int forked = 0;
    while (pc_output_pending(&f->o)) {
        pc_output_flush(&f->o);
        read_all(f);
        for (const char *text; *(text = next(f)) != '\0';) {
            if (strncmp(text, "forked", 6) == 0) {
                snprintf(expected, sizeof expected, "forked %d", forked++);
                assert_string_equal(text, expected);
            }
        }
    }
    assert_int_equal(forked, N);
    assert_int_equal(f->len, 0);
    assert_true(f->o.queue.cap <= 256 * 1024);
}

/* A reader that is always behind, but reads: the queue does not grow with what has passed through it. */
static void test_queue_stays_small(void **state) {
    struct fixture *f = *state;
    size_t most = 0;
    /* 2 MiB ahead of a pipe of 64 KiB. */
    for (int i = 0; i < 2000; i++) {
        pc_message_fork_failed(&f->o, 1, (const char *)f->bytes, 1000);
    }
    for (int i = 0; i < 200; i++) {
        for (int j = 0; j < 64; j++) {
            pc_message_fork_failed(&f->o, 1, (const char *)f->bytes, 1000);
        }
        pc_output_flush(&f->o);
        f->len = 0;
        read_all(f);
        most = f->o.queue.len > most ? f->o.queue.len : most;
        assert_true(pc_output_pending(&f->o));
    }
    f->len = 0;
    assert_true(most < 8 << 20);
}

static void test_nobody_reads(void **state) {
    struct fixture *f = *state;
    close(f->in);
    f->in = -1;
    pc_output_credit(&f->o, 100000);
    push(f, 100);
    pc_message_forked(&f->o, 1, 1);
    pc_output_flush(&f->o);
    assert_true(f->o.closed);
    push(f, 100);
    pc_message_forked(&f->o, 1, 1);
    assert_false(pc_output_pending(&f->o));
    assert_int_equal(f->o.queue.len, 0);
    assert_int_equal(f->o.ring.used, 0);
}

static void test_note(void **state) {
    struct fixture *f = *state;
    char *text = malloc(2000);
    memset(text, 'x', 1999);
    text[1999] = '\0';
    pc_output_note(&f->o, "%s", "short");
    pc_output_note(&f->o, "%s", text);
    pc_output_credit(&f->o, 100000);
    pc_output_flush(&f->o);
    read_all(f);
    assert_string_equal(next(f), "log 5");
    assert_string_equal(next(f), "log 511");
    free(text);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_messages_first),
        TEST(test_credit),
        TEST(test_what_was_dropped_is_told),
        TEST(test_slow_reader),
        TEST(test_queue_stays_small),
        TEST(test_nobody_reads),
        TEST(test_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
