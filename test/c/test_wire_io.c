/* Frames over a socketpair: every split, growth, limits, end of file, a full socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/io.h"

enum { LIMIT = 1 << 20 };

static void pair(int fd[2]) { assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0); }

static void put(int fd, const void *bytes, size_t n) { assert_int_equal(write(fd, bytes, n), (ssize_t)n); }

static void every_split_of_two_frames_reads_the_same(void **state) {
    (void)state;
    static const char stream[] = "\0\0\0\3abc\0\0\0\0\0\0\0\1z";
    const size_t size = sizeof stream - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        int fd[2];
        struct pc_inbox in;
        const uint8_t *payload;
        size_t n;
        int frames = 0;
        pair(fd);
        pc_inbox_init(&in);
        for (int half = 0; half < 2; half++) {
            put(fd[0], half == 0 ? stream : stream + cut, half == 0 ? cut : size - cut);
            enum pc_io io;
            while ((io = pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n)) == PC_IO_DONE) {
                static const char *const expected[] = {"abc", "", "z"};
                assert_int_equal(n, strlen(expected[frames]));
                assert_memory_equal(payload, expected[frames], n);
                frames++;
                pc_inbox_consume(&in);
            }
            assert_int_equal(io, PC_IO_AGAIN);
        }
        assert_int_equal(frames, 3);
        assert_false(pc_inbox_partial(&in));
        close(fd[0]);
        assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n), PC_IO_EOF);
        close(fd[1]);
        pc_inbox_destroy(&in);
    }
}

static void a_length_above_the_limit_is_refused_unread(void **state) {
    (void)state;
    int fd[2];
    struct pc_inbox in;
    const uint8_t *payload;
    size_t n;
    pair(fd);
    pc_inbox_init(&in);
    put(fd[0], "\xff\xff\xff\xff", 4);
    assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n), PC_IO_BAD);
    close(fd[0]), close(fd[1]);
    pc_inbox_destroy(&in);
}

static void a_promised_length_allocates_nothing(void **state) {
    (void)state;
    int fd[2];
    struct pc_inbox in;
    const uint8_t *payload;
    size_t n;
    pair(fd);
    pc_inbox_init(&in);
    put(fd[0], "\x3f\xff\xff\xff.", 5);
    assert_int_equal(pc_inbox_read(&in, fd[1], UINT32_C(1) << 30, SIZE_MAX, &payload, &n), PC_IO_AGAIN);
    assert_true(in.cap <= 64 * 1024);
    close(fd[0]), close(fd[1]);
    pc_inbox_destroy(&in);
}

static void a_share_bounds_one_turn(void **state) {
    (void)state;
    int fd[2];
    struct pc_inbox in;
    const uint8_t *payload;
    size_t n;
    char bytes[4 + 1000] = "\0\0\3\xe8";
    pair(fd);
    pc_inbox_init(&in);
    put(fd[0], bytes, sizeof bytes);
    for (int turn = 0; turn < 10; turn++) {
        assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, 100, &payload, &n), PC_IO_MORE);
    }
    assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, 100, &payload, &n), PC_IO_DONE);
    assert_int_equal(n, 1000);
    close(fd[0]), close(fd[1]);
    pc_inbox_destroy(&in);
}

/* A frame of many megabytes through a socket that holds a few hundred kilobytes. */
static void a_large_frame_crosses_in_pieces(void **state) {
    (void)state;
    enum { SIZE = 5 * 1000 * 1000 };
    int fd[2];
    struct pc_inbox in;
    struct pc_outbox out;
    const uint8_t *payload = NULL;
    size_t n = 0;
    pair(fd);
    pc_inbox_init(&in);
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, SIZE + 5);
    pc_write_bin_header(&out.w, SIZE);
    uint8_t *body = pc_writer_claim(&out.w, SIZE);
    assert_non_null(body);
    for (size_t i = 0; i < SIZE; i++) {
        body[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
    int blocked = 0;
    enum pc_io io = PC_IO_AGAIN;
    while (io != PC_IO_DONE) {
        blocked += pc_outbox_flush(&out, fd[0]) == PC_IO_AGAIN;
        io = pc_inbox_read(&in, fd[1], UINT32_C(1) << 30, SIZE_MAX, &payload, &n);
    }
    assert_true(blocked > 1);
    assert_int_equal(n, SIZE + 5);
    for (size_t i = 0; i < SIZE; i++) {
        assert_int_equal(payload[5 + i], (uint8_t)(i * 2654435761U >> 24));
    }
    pc_inbox_consume(&in);
    assert_int_equal(in.cap, 0); /* not kept for the next small one */
    assert_int_equal(out.w.cap, 0);
    close(fd[0]), close(fd[1]);
    pc_inbox_destroy(&in);
    pc_outbox_destroy(&out);
}

static void a_frame_too_big_is_undone_and_the_next_one_goes(void **state) {
    (void)state;
    int fd[2];
    struct pc_outbox out;
    char got[8];
    pair(fd);
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, 8);
    pc_write_str(&out.w, "more than eight bytes", 21);
    assert_int_equal(pc_outbox_end(&out, mark), PC_TOO_BIG);
    assert_int_equal(pc_outbox_pending(&out), 0);
    mark = pc_outbox_begin(&out, 8);
    pc_write_str(&out.w, "eight", 5);
    assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
    assert_int_equal(pc_outbox_flush(&out, fd[0]), PC_IO_DONE);
    assert_int_equal(read(fd[1], got, sizeof got), 8);
    assert_int_equal(read(fd[1], got, sizeof got), 2);
    close(fd[0]), close(fd[1]);
    pc_outbox_destroy(&out);
}

static void writing_to_nobody_is_end_of_file_not_a_signal(void **state) {
    (void)state;
    int fd[2];
    struct pc_outbox out;
    pair(fd);
    close(fd[1]);
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, 8);
    pc_write_nil(&out.w);
    assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
    assert_int_equal(pc_outbox_flush(&out, fd[0]), PC_IO_EOF);
    close(fd[0]);
    pc_outbox_destroy(&out);
}

/* A frame of "head", a part, "between", two parts, one of them empty, and "tail". */
static size_t write_in_parts(struct pc_outbox *out, const uint8_t *large, size_t n) {
    size_t mark = pc_outbox_begin(out, LIMIT);
    pc_writer_append(&out->w, "head", 4);
    assert_true(pc_outbox_part(out, &(struct pc_part){.at = out->w.len, .data = large, .n = n}));
    pc_writer_append(&out->w, "between", 7);
    assert_true(pc_outbox_part(out, &(struct pc_part){.at = out->w.len, .data = large, .n = 0}));
    assert_true(pc_outbox_part(out, &(struct pc_part){.at = out->w.len, .data = large + 1, .n = 3}));
    pc_writer_append(&out->w, "tail", 4);
    return mark;
}

static void expect_parts(const uint8_t *payload, size_t size, const uint8_t *large, size_t n) {
    assert_int_equal(size, 4 + n + 7 + 3 + 4);
    assert_memory_equal(payload, "head", 4);
    assert_memory_equal(payload + 4, large, n);
    assert_memory_equal(payload + 4 + n, "between", 7);
    assert_memory_equal(payload + 4 + n + 7, large + 1, 3);
    assert_memory_equal(payload + 4 + n + 7 + 3, "tail", 4);
}

/* Through a socket that takes a little at a time, with frames without parts before and behind. */
static void parts_cross_in_their_places(void **state) {
    (void)state;
    static uint8_t large[600000];
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)(i * 7 + i / 251);
    }
    static const size_t sizes[] = {1, 5, 4096, 70000, sizeof large};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int fd[2];
        int small = 4096;
        struct pc_inbox in;
        struct pc_outbox out;
        pair(fd);
        assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
        pc_inbox_init(&in);
        pc_outbox_init(&out);
        size_t mark = pc_outbox_begin(&out, LIMIT);
        pc_writer_append(&out.w, "first", 5);
        assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
        mark = write_in_parts(&out, large, sizes[s]);
        assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
        mark = pc_outbox_begin(&out, LIMIT);
        pc_writer_append(&out.w, "last", 4);
        assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
        size_t whole = pc_outbox_pending(&out);
        for (int frames = 0; frames < 3;) {
            const uint8_t *payload;
            size_t n;
            assert_int_not_equal(pc_outbox_flush(&out, fd[0]), PC_IO_EOF);
            while (pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n) == PC_IO_DONE) {
                if (frames == 1) {
                    expect_parts(payload, n, large, sizes[s]);
                } else {
                    assert_memory_equal(payload, frames == 0 ? "first" : "last", n);
                }
                frames++;
                pc_inbox_consume(&in);
            }
        }
        assert_int_equal(out.total, whole);
        assert_int_equal(pc_outbox_pending(&out), 0);
        assert_int_equal(out.parts_count, 0);
        close(fd[0]);
        close(fd[1]);
        pc_inbox_destroy(&in);
        pc_outbox_destroy(&out);
    }
}

/* More parts than go out at once. */
static void many_parts(void **state) {
    (void)state;
    enum { PARTS = 1000 };
    static uint8_t bytes[PARTS];
    int fd[2];
    struct pc_inbox in;
    struct pc_outbox out;
    const uint8_t *payload;
    size_t n;
    pair(fd);
    pc_inbox_init(&in);
    pc_outbox_init(&out);
    size_t mark = pc_outbox_begin(&out, LIMIT);
    for (size_t i = 0; i < PARTS; i++) {
        bytes[i] = (uint8_t)i;
        if (i % 3 == 0) {
            pc_writer_append(&out.w, "x", 1);
        }
        assert_true(pc_outbox_part(&out, &(struct pc_part){.at = out.w.len, .data = bytes + i, .n = 1}));
    }
    assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
    assert_int_equal(pc_outbox_flush(&out, fd[0]), PC_IO_DONE);
    assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n), PC_IO_DONE);
    for (size_t i = 0; i < PARTS; i++) {
        if (i % 3 == 0) {
            assert_int_equal(*payload++, 'x');
        }
        assert_int_equal(*payload++, (uint8_t)i);
    }
    close(fd[0]);
    close(fd[1]);
    pc_inbox_destroy(&in);
    pc_outbox_destroy(&out);
}

static void an_undone_frame_takes_its_parts_along(void **state) {
    (void)state;
    static const uint8_t bytes[] = "0123456789";
    int fd[2];
    struct pc_inbox in;
    struct pc_outbox out;
    const uint8_t *payload;
    size_t n;
    pair(fd);
    pc_inbox_init(&in);
    pc_outbox_init(&out);
    size_t mark = write_in_parts(&out, bytes, 10);
    assert_int_equal(pc_outbox_end(&out, mark), PC_OK);
    size_t pending = pc_outbox_pending(&out);
    mark = write_in_parts(&out, bytes, 7);
    pc_outbox_undo(&out, mark);
    assert_int_equal(pc_outbox_pending(&out), pending);
    assert_int_equal(pc_outbox_flush(&out, fd[0]), PC_IO_DONE);
    assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n), PC_IO_DONE);
    expect_parts(payload, n, bytes, 10);
    mark = write_in_parts(&out, bytes, 5);
    pc_outbox_undo(&out, mark);
    assert_int_equal(pc_outbox_pending(&out), 0);
    close(fd[0]);
    close(fd[1]);
    pc_inbox_destroy(&in);
    pc_outbox_destroy(&out);
}

/* The memory of a frame outlives the inbox, and what came behind it is still there. */
static void a_frame_is_given_away(void **state) {
    (void)state;
    static const char stream[] = "\0\0\0\3abc\0\0\0\2de\0\0\0\1";
    for (size_t cut = 7; cut < sizeof stream; cut++) {
        int fd[2];
        struct pc_inbox in;
        const uint8_t *payload, *second;
        uint8_t *data;
        size_t n;
        pair(fd);
        pc_inbox_init(&in);
        put(fd[0], stream, cut);
        assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &payload, &n), PC_IO_DONE);
        assert_true(pc_inbox_take(&in, &data));
        put(fd[0], stream + cut, sizeof stream - 1 - cut);
        size_t m;
        assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &second, &m), PC_IO_DONE);
        assert_memory_equal(second, "de", m);
        pc_inbox_consume(&in);
        assert_int_equal(pc_inbox_read(&in, fd[1], LIMIT, SIZE_MAX, &second, &m), PC_IO_AGAIN);
        close(fd[0]);
        close(fd[1]);
        pc_inbox_destroy(&in);
        assert_int_equal(n, 3);
        assert_memory_equal(payload, "abc", 3);
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_of_two_frames_reads_the_same),
        cmocka_unit_test(a_length_above_the_limit_is_refused_unread),
        cmocka_unit_test(a_promised_length_allocates_nothing),
        cmocka_unit_test(a_share_bounds_one_turn),
        cmocka_unit_test(a_large_frame_crosses_in_pieces),
        cmocka_unit_test(a_frame_too_big_is_undone_and_the_next_one_goes),
        cmocka_unit_test(writing_to_nobody_is_end_of_file_not_a_signal),
        cmocka_unit_test(parts_cross_in_their_places),
        cmocka_unit_test(many_parts),
        cmocka_unit_test(an_undone_frame_takes_its_parts_along),
        cmocka_unit_test(a_frame_is_given_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
