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

/* A socket with an outbox at one end and an inbox at the other, and the frame that was read last. */
struct link {
    int fd[2];
    struct pc_outbox out; /* to fd[0] */
    struct pc_inbox in;   /* from fd[1] */
    const uint8_t *payload;
    size_t n;
};

static void link_open(struct link *l) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, l->fd), 0);
    pc_inbox_init(&l->in);
    pc_outbox_init(&l->out);
}

static void hang_up(struct link *l, int end) {
    if (l->fd[end] >= 0) {
        close(l->fd[end]);
        l->fd[end] = -1;
    }
}

static void link_close(struct link *l) {
    hang_up(l, 0);
    hang_up(l, 1);
    pc_inbox_destroy(&l->in);
    pc_outbox_destroy(&l->out);
}

static void put(struct link *l, const void *bytes, size_t n) {
    assert_int_equal(write(l->fd[0], bytes, n), (ssize_t)n);
}

static enum pc_io flush(struct link *l) { return pc_outbox_flush(&l->out, l->fd[0]); }

static enum pc_io read_share(struct link *l, size_t max_frame, size_t share) {
    return pc_inbox_read(&l->in, l->fd[1], max_frame, share, &l->payload, &l->n);
}

static enum pc_io read_frame(struct link *l) { return read_share(l, LIMIT, SIZE_MAX); }

static void every_split_of_two_frames_reads_the_same(void **state) {
    (void)state;
    static const char stream[] = "\0\0\0\3abc\0\0\0\0\0\0\0\1z";
    const size_t size = sizeof stream - 1;
    for (size_t cut = 0; cut <= size; cut++) {
        struct link l;
        int frames = 0;
        link_open(&l);
        for (int half = 0; half < 2; half++) {
            put(&l, half == 0 ? stream : stream + cut, half == 0 ? cut : size - cut);
            enum pc_io io;
            while ((io = read_frame(&l)) == PC_IO_DONE) {
                assert_true(pc_inbox_whole(&l.in));
                static const char *const expected[] = {"abc", "", "z"};
                assert_int_equal(l.n, strlen(expected[frames]));
                assert_memory_equal(l.payload, expected[frames], l.n);
                frames++;
                pc_inbox_consume(&l.in);
            }
            assert_int_equal(io, PC_IO_AGAIN);
            assert_false(pc_inbox_whole(&l.in));
        }
        assert_int_equal(frames, 3);
        assert_false(pc_inbox_partial(&l.in));
        hang_up(&l, 0);
        assert_int_equal(read_frame(&l), PC_IO_EOF);
        link_close(&l);
    }
}

static void a_length_above_the_limit_is_refused_unread(void **state) {
    (void)state;
    struct link l;
    link_open(&l);
    put(&l, "\xff\xff\xff\xff", 4);
    assert_int_equal(read_frame(&l), PC_IO_BAD);
    link_close(&l);
}

static void a_promised_length_allocates_nothing(void **state) {
    (void)state;
    struct link l;
    link_open(&l);
    put(&l, "\x3f\xff\xff\xff.", 5);
    assert_int_equal(read_share(&l, UINT32_C(1) << 30, SIZE_MAX), PC_IO_AGAIN);
    assert_true(l.in.cap <= 64 * 1024);
    link_close(&l);
}

static void a_share_bounds_one_turn(void **state) {
    (void)state;
    struct link l;
    char bytes[4 + 1000] = "\0\0\3\xe8";
    link_open(&l);
    put(&l, bytes, sizeof bytes);
    for (int turn = 0; turn < 10; turn++) {
        assert_int_equal(read_share(&l, LIMIT, 100), PC_IO_MORE);
    }
    assert_int_equal(read_share(&l, LIMIT, 100), PC_IO_DONE);
    assert_int_equal(l.n, 1000);
    link_close(&l);
}

/* A frame of many megabytes through a socket that holds a few hundred kilobytes. */
static void a_large_frame_crosses_in_pieces(void **state) {
    (void)state;
    enum { SIZE = 5 * 1000 * 1000 };
    struct link l;
    link_open(&l);
    size_t mark = pc_outbox_begin(&l.out, SIZE + 5);
    pc_write_bin_header(&l.out.w, SIZE);
    uint8_t *body = pc_writer_claim(&l.out.w, SIZE);
    assert_non_null(body);
    for (size_t i = 0; i < SIZE; i++) {
        body[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
    int blocked = 0;
    enum pc_io io = PC_IO_AGAIN;
    while (io != PC_IO_DONE) {
        blocked += flush(&l) == PC_IO_AGAIN;
        io = read_share(&l, UINT32_C(1) << 30, SIZE_MAX);
    }
    assert_true(blocked > 1);
    assert_int_equal(l.n, SIZE + 5);
    for (size_t i = 0; i < SIZE; i++) {
        assert_int_equal(l.payload[5 + i], (uint8_t)(i * 2654435761U >> 24));
    }
    pc_inbox_consume(&l.in);
    assert_int_equal(l.in.cap, 0); /* not kept for the next small one */
    assert_int_equal(l.out.w.cap, 0);
    link_close(&l);
}

static void a_frame_too_big_is_undone_and_the_next_one_goes(void **state) {
    (void)state;
    struct link l;
    char got[8];
    link_open(&l);
    size_t mark = pc_outbox_begin(&l.out, 8);
    pc_write_str(&l.out.w, "more than eight bytes", 21);
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_TOO_BIG);
    assert_int_equal(pc_outbox_pending(&l.out), 0);
    mark = pc_outbox_begin(&l.out, 8);
    pc_write_str(&l.out.w, "eight", 5);
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
    assert_int_equal(flush(&l), PC_IO_DONE);
    assert_int_equal(read(l.fd[1], got, sizeof got), 8);
    assert_int_equal(read(l.fd[1], got, sizeof got), 2);
    link_close(&l);
}

static void writing_to_nobody_is_end_of_file_not_a_signal(void **state) {
    (void)state;
    struct link l;
    link_open(&l);
    hang_up(&l, 1);
    size_t mark = pc_outbox_begin(&l.out, 8);
    pc_write_nil(&l.out.w);
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
    assert_int_equal(flush(&l), PC_IO_EOF);
    link_close(&l);
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
        struct link l;
        int small = 4096;
        link_open(&l);
        assert_int_equal(setsockopt(l.fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
        size_t mark = pc_outbox_begin(&l.out, LIMIT);
        pc_writer_append(&l.out.w, "first", 5);
        assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
        mark = write_in_parts(&l.out, large, sizes[s]);
        assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
        mark = pc_outbox_begin(&l.out, LIMIT);
        pc_writer_append(&l.out.w, "last", 4);
        assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
        size_t whole = pc_outbox_pending(&l.out);
        for (int frames = 0; frames < 3;) {
            assert_int_not_equal(flush(&l), PC_IO_EOF);
            while (read_frame(&l) == PC_IO_DONE) {
                if (frames == 1) {
                    expect_parts(l.payload, l.n, large, sizes[s]);
                } else {
                    assert_memory_equal(l.payload, frames == 0 ? "first" : "last", l.n);
                }
                frames++;
                pc_inbox_consume(&l.in);
            }
        }
        assert_int_equal(l.out.total, whole);
        assert_int_equal(pc_outbox_pending(&l.out), 0);
        assert_int_equal(l.out.parts_count, 0);
        link_close(&l);
    }
}

/* More parts than go out at once. */
static void many_parts(void **state) {
    (void)state;
    enum { PARTS = 1000 };
    static uint8_t bytes[PARTS];
    struct link l;
    link_open(&l);
    size_t mark = pc_outbox_begin(&l.out, LIMIT);
    for (size_t i = 0; i < PARTS; i++) {
        bytes[i] = (uint8_t)i;
        if (i % 3 == 0) {
            pc_writer_append(&l.out.w, "x", 1);
        }
        assert_true(pc_outbox_part(&l.out, &(struct pc_part){.at = l.out.w.len, .data = bytes + i, .n = 1}));
    }
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
    assert_int_equal(flush(&l), PC_IO_DONE);
    assert_int_equal(read_frame(&l), PC_IO_DONE);
    for (size_t i = 0; i < PARTS; i++) {
        if (i % 3 == 0) {
            assert_int_equal(*l.payload++, 'x');
        }
        assert_int_equal(*l.payload++, (uint8_t)i);
    }
    link_close(&l);
}

static void an_undone_frame_takes_its_parts_along(void **state) {
    (void)state;
    static const uint8_t bytes[] = "0123456789";
    struct link l;
    link_open(&l);
    size_t mark = write_in_parts(&l.out, bytes, 10);
    assert_int_equal(pc_outbox_end(&l.out, mark), PC_OK);
    size_t pending = pc_outbox_pending(&l.out);
    mark = write_in_parts(&l.out, bytes, 7);
    pc_outbox_undo(&l.out, mark);
    assert_int_equal(pc_outbox_pending(&l.out), pending);
    assert_int_equal(flush(&l), PC_IO_DONE);
    assert_int_equal(read_frame(&l), PC_IO_DONE);
    expect_parts(l.payload, l.n, bytes, 10);
    mark = write_in_parts(&l.out, bytes, 5);
    pc_outbox_undo(&l.out, mark);
    assert_int_equal(pc_outbox_pending(&l.out), 0);
    link_close(&l);
}

/* The memory of a frame outlives the inbox, and what came behind it is still there. */
static void a_frame_is_given_away(void **state) {
    (void)state;
    static const char stream[] = "\0\0\0\3abc\0\0\0\2de\0\0\0\1";
    for (size_t cut = 7; cut < sizeof stream; cut++) {
        struct link l;
        uint8_t *data;
        link_open(&l);
        put(&l, stream, cut);
        assert_int_equal(read_frame(&l), PC_IO_DONE);
        const uint8_t *given = l.payload;
        assert_int_equal(l.n, 3);
        assert_true(pc_inbox_take(&l.in, &data));
        put(&l, stream + cut, sizeof stream - 1 - cut);
        assert_int_equal(read_frame(&l), PC_IO_DONE);
        assert_int_equal(l.n, 2);
        assert_memory_equal(l.payload, "de", 2);
        pc_inbox_consume(&l.in);
        assert_int_equal(read_frame(&l), PC_IO_AGAIN);
        link_close(&l);
        assert_memory_equal(given, "abc", 3);
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
