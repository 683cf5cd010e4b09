/*
 * wire/lane.c: who is at a lane's descriptor, what is sent through it and when it goes back. malloc, calloc and realloc are replaced
 * by the linker, so that any of them can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <poll.h>

#include "fake_lanes.h"

enum { ME = 7, CALLS = 8, LARGE = 3 * 1000 * 1000, DEPTH = 4 };

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t n);

static int allocations = INT_MAX; /* that succeed */

static bool may_allocate(void) {
    allocations -= allocations < INT_MAX;
    return allocations >= 0;
}

void *__wrap_malloc(size_t n) { return may_allocate() ? __real_malloc(n) : NULL; }
void *__wrap_calloc(size_t n, size_t size) { return may_allocate() ? __real_calloc(n, size) : NULL; }
void *__wrap_realloc(void *memory, size_t n) { return may_allocate() ? __real_realloc(memory, n) : NULL; }

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct fake_lane l;
};

static struct room *enter(void) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    assert_true(pc_dispatch_init(&r->d, DEPTH, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    fake_lane_open(&r->l, &r->d, 0);
    return r;
}

static void answer_all(struct room *r) {
    bool left, known;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].state == PC_CALL_OUT && r->calls[i].id != 0) {
            assert_non_null(pc_lane_take(&r->l.lane, r->calls[i].id, PC_ANY_FORMAT, 0, &left, &known));
        }
    }
}

static void leave(struct room *r) {
    answer_all(r);
    fake_lane_destroy(&r->l);
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
    free(r);
}

/* A body of so many bytes, all different from those of another. */
static uint8_t *make_body(size_t n, unsigned seed) {
    uint8_t *data = __real_malloc(n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++) {
        data[i] = (uint8_t)((i + seed) * UINT64_C(2654435761) >> 24);
    }
    return data;
}

static enum pc_submitted try_submit(struct room *r, int i, uint8_t *data, size_t n, bool owned) {
    struct pc_body body = {.data = data, .n = n, .owned = owned};
    struct pc_lane *lane;
    enum pc_submitted how = pc_dispatch_submit(&r->d, ME, &r->calls[i], &body, 0, at, &lane);
    if (how == PC_SUBMIT_OUT) {
        pc_lane_unpin(lane, at);
    }
    return how;
}

static void submit(struct room *r, int i, size_t n, bool owned) {
    uint8_t *data = make_body(n, (unsigned)i);
    enum pc_submitted how = try_submit(r, i, data, n, owned);
    assert_true(how == PC_SUBMIT_OUT || how == PC_SUBMIT_READY || how == PC_SUBMIT_QUEUED);
    if (!owned) {
        memset(data, 0, n); /* was copied */
        free(data);
    }
}

static void expect_made(struct room *r, int i, size_t n) {
    uint8_t *data = make_body(n, (unsigned)i);
    expect_call(&r->l, (uint64_t)i + 1, data, n);
    free(data);
}

/* Sends and reads in turn, as much as the socket holds, until all is sent. */
static void pump(struct room *r, uint8_t *to, size_t n) {
    size_t got = 0;
    bool unblock = r->l.lane.blocked;
    assert_true(pc_lane_pin(&r->l.lane, at));
    while (got < n) {
        enum pc_io io = pc_lane_flush(&r->l.lane, unblock);
        assert_true(io == PC_IO_AGAIN || io == PC_IO_DONE);
        unblock = io == PC_IO_AGAIN;
        ssize_t some = recv(r->l.peer, to + got, n - got, MSG_DONTWAIT);
        got += some > 0 ? (size_t)some : 0;
    }
    pc_lane_unpin(&r->l.lane, at);
}

/* ---- Bodies */

static const size_t sizes[] = {1, 1000, 64 * 1024, 64 * 1024 + 1, LARGE};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* Borrowed or owned, copied or sent from where they are: what arrives is the same, and all memory is freed once. */
static void bodies_of_every_size(void **state) {
    (void)state;
    for (int owned = 0; owned < 2; owned++) {
        struct room *r = enter();
        size_t all = 0;
        for (int i = 0; i < SIZES; i++) { /* the last one waits, for want of room */
            submit(r, i, sizes[i], owned == 1);
            all += PC_FRAME_HEADER + 3 + sizes[i];
        }
        bool left, known;
        assert_non_null(pc_lane_take(&r->l.lane, 1, PC_ANY_FORMAT, 0, &left, &known));
        uint8_t *got = make_body(all, 0);
        pump(r, got, all);
        const uint8_t *p = got;
        for (int i = 0; i < SIZES; i++) {
            uint8_t *expected = make_body(sizes[i], (unsigned)i);
            assert_int_equal(pc_frame_length(p), 3 + sizes[i]);
            assert_int_equal(p[PC_FRAME_HEADER + 2], i + 1);
            assert_memory_equal(p + PC_FRAME_HEADER + 3, expected, sizes[i]);
            p += PC_FRAME_HEADER + 3 + sizes[i];
            free(expected);
        }
        free(got);
        expect_nothing(&r->l);
        assert_int_equal(r->l.lane.sending.owned_count + r->l.lane.pending.owned_count, 0); /* none is kept */
        leave(r);
    }
}

/* Nor are bodies lost that are never sent: half out, ready, and waiting. */
static void bodies_that_are_not_sent(void **state) {
    (void)state;
    struct room *r = enter();
    submit(r, 0, LARGE, true);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_AGAIN);
    pc_lane_unpin(&r->l.lane, at);
    for (int i = 1; i < 5; i++) {
        submit(r, i, LARGE, true);
    }
    struct pc_call *queue = pc_dispatch_end(&r->d);
    assert_ptr_equal(queue, &r->calls[4]);
    free(queue->body.data);
    leave(r);
}

/* ---- Sending */

static void a_full_socket(void **state) {
    (void)state;
    struct room *r = enter();
    submit(r, 0, LARGE, true);
    submit(r, 1, 10, false);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_AGAIN);
    assert_true(r->l.lane.blocked);
    /* Whoever has more to send leaves it to whoever was told to wait. */
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_DONE);
    assert_int_equal(pc_lane_flush(&r->l.lane, true), PC_IO_AGAIN);
    pc_lane_unpin(&r->l.lane, at);
    uint8_t *got = make_body(LARGE + 10 + 2 * (PC_FRAME_HEADER + 3), 0);
    pump(r, got, LARGE + 10 + 2 * (PC_FRAME_HEADER + 3));
    free(got);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, true), PC_IO_DONE);
    assert_false(r->l.lane.blocked);
    pc_lane_unpin(&r->l.lane, at);
    leave(r);
}

static void the_other_end_is_gone(void **state) {
    (void)state;
    struct room *r = enter();
    shutdown(r->l.peer, SHUT_RDWR);
    submit(r, 0, 10, false);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_EOF);
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_DONE); /* told once */
    pc_lane_unpin(&r->l.lane, at);
    leave(r);
}

/* Nobody answers what has not arrived: neither a call that is ready, nor one of which a part was sent. */
static void answers_before_their_calls(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_lane *lane = &r->l.lane;
    bool left, known;
    submit(r, 0, 10, false);
    assert_null(pc_lane_take(lane, 1, PC_MESSAGEPACK, 0, &left, &known)); /* is ready */
    assert_false(known);
    fake_lane_flush(&r->l);
    submit(r, 1, LARGE, true);
    submit(r, 2, 10, true);
    assert_true(pc_lane_pin(lane, at));
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_AGAIN);
    pc_lane_unpin(lane, at);
    submit(r, 3, 10, true);
    for (uint64_t id = 2; id <= 4; id++) {
        assert_null(pc_lane_take(lane, id, PC_MESSAGEPACK, 0, &left, &known));
        assert_false(known);
    }
    assert_non_null(pc_lane_take(lane, 1, PC_MESSAGEPACK, 0, &left, &known));
    r->calls[0].state = PC_CALL_OVER;
    /* One that the worker says it will not start may be on its way. */
    assert_non_null(pc_lane_take(lane, 3, PC_ANY_FORMAT, 0, &left, &known));
    r->calls[2].state = PC_CALL_OVER;
    size_t all = LARGE + 3 * 10 + 4 * (PC_FRAME_HEADER + 3);
    uint8_t *got = make_body(all, 0);
    pump(r, got, all);
    free(got);
    for (uint64_t id = 2; id <= 4; id += 2) {
        assert_non_null(pc_lane_take(lane, id, PC_MESSAGEPACK, 0, &left, &known));
        r->calls[id - 1].state = PC_CALL_OVER;
    }
    leave(r);
}

/* What a worker has not seen a byte of, it has not begun, and it will see no more. */
static void what_was_begun(void **state) {
    (void)state;
    for (int sent = 0; sent < 4; sent++) {
        struct room *r = enter();
        for (int i = 0; i < 4; i++) {
            submit(r, i, i == 2 ? LARGE : 10, true); /* of the third one a part is sent */
            if (i < sent) {
                assert_true(pc_lane_pin(&r->l.lane, at));
                assert_int_equal(pc_lane_flush(&r->l.lane, false), i == 2 ? PC_IO_AGAIN : PC_IO_DONE);
                pc_lane_unpin(&r->l.lane, at);
            }
        }
        assert_int_equal(pc_lane_silence(&r->l.lane), sent);
        assert_true(pc_lane_pin(&r->l.lane, at));
        assert_int_equal(pc_lane_flush(&r->l.lane, true), PC_IO_DONE);
        pc_lane_unpin(&r->l.lane, at);
        assert_int_equal(pc_lane_silence(&r->l.lane), sent);
        leave(r);
    }
}

/* Nor has one that is gone before a byte was sent. */
static void nothing_is_begun_at_a_dead_end(void **state) {
    (void)state;
    struct room *r = enter();
    submit(r, 0, 10, false);
    fake_lane_flush(&r->l);
    shutdown(r->l.peer, SHUT_RDWR);
    submit(r, 1, 10, false);
    submit(r, 2, LARGE, true);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_EOF);
    pc_lane_unpin(&r->l.lane, at);
    assert_int_equal(pc_lane_silence(&r->l.lane), 1);
    leave(r);
}

static void other_frames(void **state) {
    (void)state;
    static const uint8_t frame[] = {0, 0, 0, 1, 0xc0};
    uint8_t got[sizeof frame];
    struct room *r = enter();
    submit(r, 0, 10, false);
    assert_false(pc_lane_append(&r->l.lane, frame, sizeof frame, true)); /* a call is out */
    assert_true(pc_lane_append(&r->l.lane, frame, sizeof frame, false));
    fake_lane_flush(&r->l);
    expect_made(r, 0, 10);
    read_exactly(r->l.peer, got, sizeof got);
    assert_memory_equal(got, frame, sizeof frame);
    assert_true(pc_lane_awaits(&r->l.lane));
    answer_all(r);
    r->calls[0].state = PC_CALL_OVER;
    assert_false(pc_lane_awaits(&r->l.lane));
    assert_true(pc_lane_append(&r->l.lane, frame, sizeof frame, true));
    assert_true(pc_lane_awaits(&r->l.lane)); /* the end */
    submit(r, 1, 10, true);
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED); /* it has stopped */
    free(pc_dispatch_end(&r->d)->body.data);
    leave(r);
}

/* ---- Frames with a body, which answer the worker */

static const uint8_t head[] = {0x92, 0x04};

static enum pc_status send_body(struct room *r, size_t n, unsigned seed, bool owned) {
    uint8_t *data = make_body(n, seed);
    const struct pc_body body = {.data = data, .n = n, .owned = owned};
    assert_true(pc_lane_pin(&r->l.lane, at));
    enum pc_status status = pc_lane_send(&r->l.lane, head, sizeof head, &body);
    pc_lane_unpin(&r->l.lane, at);
    if (!owned || status != PC_OK) {
        memset(data, 0, n); /* was copied, or is still ours */
        free(data);
    }
    return status;
}

static void expect_body(struct room *r, size_t n, unsigned seed) {
    size_t whole = 4 + sizeof head + n;
    uint8_t *got = __real_malloc(whole), *data = make_body(n, seed);
    pump(r, got, whole);
    assert_int_equal((size_t)got[0] << 24 | (size_t)got[1] << 16 | (size_t)got[2] << 8 | got[3], sizeof head + n);
    assert_memory_equal(got + 4, head, sizeof head);
    assert_memory_equal(got + 4 + sizeof head, data, n);
    free(got);
    free(data);
}

static void frames_with_a_body(void **state) {
    (void)state;
    struct room *r = enter();
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(send_body(r, sizes[i / 2], (unsigned)i, i % 2 == 0), PC_OK);
        expect_body(r, sizes[i / 2], (unsigned)i);
    }
    for (unsigned i = 0; i < 4; i++) { /* some at once */
        assert_int_equal(send_body(r, LARGE / 4, i, i % 2 == 0), PC_OK);
    }
    for (unsigned i = 0; i < 4; i++) {
        expect_body(r, LARGE / 4, i);
    }
    leave(r);
}

static void bodies_that_are_too_large_for_a_frame(void **state) {
    (void)state;
    struct room *r = enter();
    r->l.lane.max_frame = 1000;
    for (int owned = 0; owned < 2; owned++) {
        assert_int_equal(send_body(r, 999, 1, owned), PC_TOO_BIG);
        assert_int_equal(send_body(r, LARGE, 1, owned), PC_TOO_BIG);
        assert_int_equal(send_body(r, 998, 1, owned), PC_OK);
        expect_body(r, 998, 1);
    }
    leave(r);
}

static void bodies_without_memory(void **state) {
    (void)state;
    for (int owned = 0; owned < 2; owned++) {
        int most = 0;
        enum pc_status status = PC_NO_MEMORY;
        while (status == PC_NO_MEMORY) {
            struct room *r = enter();
            allocations = most++;
            status = send_body(r, LARGE, 5, owned);
            allocations = INT_MAX;
            assert_int_equal(send_body(r, 10, 6, false), PC_OK); /* nothing is left of one that failed */
            if (status == PC_OK) {
                expect_body(r, LARGE, 5);
            }
            expect_body(r, 10, 6);
            leave(r);
        }
        assert_int_equal(status, PC_OK);
        assert_true(most > 1);
    }
}

static void count(struct pc_call *call, void *context) {
    assert_true(call->id != 0);
    ++*(int *)context;
}

static void calls_that_are_looked_at(void **state) {
    (void)state;
    struct room *r = enter();
    int seen = 0;
    assert_false(pc_lane_look(&r->l.lane, 1, count, &seen));
    submit(r, 0, 10, false);
    assert_false(pc_lane_look(&r->l.lane, 1, count, &seen)); /* it has not been sent */
    fake_lane_flush(&r->l);
    expect_made(r, 0, 10);
    assert_true(pc_lane_look(&r->l.lane, 1, count, &seen));
    assert_false(pc_lane_look(&r->l.lane, 2, count, &seen));
    assert_int_equal(seen, 1);
    answer_all(r);
    r->calls[0].state = PC_CALL_OVER;
    assert_false(pc_lane_look(&r->l.lane, 1, count, &seen));
    assert_int_equal(seen, 1);
    leave(r);
}

static void urgent_calls_go_out_at_once(void **state) {
    (void)state;
    struct room *r = enter();
    for (int i = 0; i < 3; i++) {
        uint8_t *data = make_body(10, (unsigned)i);
        r->calls[i].urgent = i == 2;
        enum pc_submitted how = try_submit(r, i, data, 10, true);
        assert_int_equal(how, PC_SUBMIT_OUT);
        fake_lane_flush(&r->l);
        expect_made(r, i, 10);
    }
    assert_int_equal(try_submit(r, 3, make_body(10, 3), 10, true), PC_SUBMIT_READY); /* any other waits */
    leave(r);
}

/* ---- The descriptor */

static void closed_when_the_last_one_goes(void **state) {
    (void)state;
    struct room *r = enter();
    submit(r, 0, 10, false);
    for (int i = 0; i < 2; i++) {
        assert_true(pc_lane_pin(&r->l.lane, at));
    }
    assert_true(pc_lane_close(&r->l.lane, at));
    assert_false(pc_lane_close(&r->l.lane, at));
    assert_false(pc_lane_pin(&r->l.lane, at));
    assert_int_equal(pc_lane_flush(&r->l.lane, false), PC_IO_DONE);
    expect_nothing(&r->l); /* no more I/O */
    pc_lane_unpin(&r->l.lane, at);
    assert_int_equal(r->l.closed, 0);
    assert_int_equal(r->l.held, 1);
    pc_lane_unpin(&r->l.lane, at);
    assert_int_equal(r->l.closed, 1);
    leave(r);
}

/* A channel that is lent: given back when nothing is to be done, and not before; closed by whoever has it. */
static void lent_and_given_back(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_lane *lane = &r->l.lane;
    uint64_t last_id = 0;
    submit(r, 0, 10, false);
    assert_true(pc_lane_pin(lane, at));
    assert_false(pc_lane_return(lane, at, &last_id)); /* a call is out, and not sent */
    answer_all(r);
    r->calls[0].state = PC_CALL_OVER;
    assert_false(pc_lane_return(lane, at, &last_id)); /* its frame is not sent */
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    assert_true(pc_lane_pin(lane, at));
    assert_false(pc_lane_return(lane, at, &last_id)); /* somebody else is at it */
    pc_lane_unpin(lane, at);
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_int_equal(last_id, 1);
    assert_int_equal(r->l.held, 0);
    assert_false(pc_lane_pin(lane, at));
    assert_false(pc_lane_open(lane, 5, true, 0, at)); /* nobody needs it */
    submit(r, 1, 10, false);
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED);
    assert_true(pc_lane_open(lane, 5, true, 0, at));
    assert_int_equal(r->calls[1].state, PC_CALL_OUT);
    assert_int_equal(r->calls[1].id, 6);
    answer_all(r);
    r->calls[1].state = PC_CALL_OVER;
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_true(pc_lane_close(lane, at));
    assert_int_equal(r->l.closed, 0); /* whose channel it is not */
    assert_false(pc_lane_open(lane, 6, false, 0, at));
    close(lane->fd);
    r->l.closed = 1;
    leave(r);
}

/* Whoever wants to lend the channel of a worker that is dead comes too late. */
static void not_lent_after_the_end(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_lane *lane = &r->l.lane;
    uint64_t last_id;
    assert_true(pc_lane_pin(lane, at));
    assert_true(pc_lane_return(lane, at, &last_id));
    submit(r, 0, 10, true);
    pc_lane_stop(lane);
    assert_null(pc_lane_take_after(lane, 0));
    assert_false(pc_lane_open(lane, last_id, true, 0, at));
    assert_int_equal(r->calls[0].state, PC_CALL_QUEUED);
    free(pc_dispatch_end(&r->d)->body.data);
    close(lane->fd);
    r->l.closed = 1;
    leave(r);
}

/* ---- Memory */

static void no_memory_for_a_dispatcher(void **state) {
    (void)state;
    struct pc_dispatch d;
    allocations = 0;
    assert_false(pc_dispatch_init(&d, DEPTH, 1, false));
    allocations = INT_MAX;
}

/* Whichever allocation fails, nothing has happened; once there is memory the call goes out whole. */
static void no_memory_for_a_call_that_goes_out(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        for (int owned = 0; owned < 2; owned++) {
            struct room *r = enter();
            uint8_t *data = make_body(sizes[i], 0);
            enum pc_submitted how = PC_SUBMIT_NO_MEMORY;
            int failures = 0;
            for (; how == PC_SUBMIT_NO_MEMORY; failures++) {
                allocations = failures;
                how = try_submit(r, 0, data, sizes[i], owned == 1);
                allocations = INT_MAX;
                assert_int_equal(pc_lane_awaits(&r->l.lane), how != PC_SUBMIT_NO_MEMORY);
            }
            assert_int_equal(how, PC_SUBMIT_OUT);
            assert_true(failures > 1);
            size_t all = PC_FRAME_HEADER + 3 + sizes[i];
            uint8_t *got = make_body(all, 1);
            uint8_t *expected = make_body(sizes[i], 0);
            pump(r, got, all);
            assert_int_equal(got[PC_FRAME_HEADER + 2], 1); /* the id */
            assert_memory_equal(got + PC_FRAME_HEADER + 3, expected, sizes[i]);
            expect_nothing(&r->l);
            free(expected);
            free(got);
            if (owned == 0) {
                free(data);
            }
            leave(r);
        }
    }
}

/* No room, and no memory to wait in. */
static void no_memory_for_the_queue(void **state) {
    (void)state;
    struct room *r = enter();
    uint8_t data[10] = {0};
    for (int i = 0; i < DEPTH; i++) {
        submit(r, i, 10, false);
    }
    allocations = 0;
    assert_int_equal(try_submit(r, DEPTH, data, sizeof data, false), PC_SUBMIT_NO_MEMORY);
    allocations = INT_MAX;
    assert_false(pc_dispatch_waits(&r->d));
    leave(r);
}

/* A call that waits stays the first when there is no memory for its turn, and goes out at the next. */
static void no_memory_for_the_next_in_the_queue(void **state) {
    (void)state;
    for (int others = 0; others < 2; others++) {
        struct room *r = enter();
        struct pc_dispatch_counts n;
        bool left, known;
        for (int i = 0; i < DEPTH; i++) {
            submit(r, i, 10, true);
        }
        fake_lane_flush(&r->l);
        for (int i = 0; i < DEPTH; i++) {
            expect_made(r, i, 10);
        }
        for (int i = DEPTH; i < DEPTH + 1 + others; i++) {
            submit(r, i, 100 * 1000, true);
        }
        allocations = 0;
        assert_non_null(pc_lane_take(&r->l.lane, 1, PC_MESSAGEPACK, 0, &left, &known));
        allocations = INT_MAX;
        pc_dispatch_count(&r->d, &n);
        assert_int_equal(n.queued, 1 + others);
        assert_int_equal(n.out, DEPTH - 1);
        assert_int_equal(r->calls[DEPTH].state, PC_CALL_QUEUED);
        assert_non_null(pc_lane_take(&r->l.lane, 2, PC_MESSAGEPACK, 0, &left, &known));
        assert_int_equal(r->calls[DEPTH].state, PC_CALL_OUT);
        assert_false(pc_dispatch_waits(&r->d));
        for (int i = DEPTH; i < DEPTH + 1 + others; i++) {
            fake_lane_flush(&r->l);
            expect_made(r, i, 100 * 1000);
        }
        leave(r);
    }
}

static void no_memory_for_other_frames(void **state) {
    (void)state;
    static const uint8_t frame[300] = {0, 0, 1, 40};
    struct room *r = enter();
    allocations = 0;
    assert_false(pc_lane_append(&r->l.lane, frame, sizeof frame, true));
    allocations = INT_MAX;
    assert_true(r->l.lane.open);
    assert_true(pc_lane_append(&r->l.lane, frame, sizeof frame, true));
    leave(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_with_a_body),
        cmocka_unit_test(bodies_that_are_too_large_for_a_frame),
        cmocka_unit_test(bodies_without_memory),
        cmocka_unit_test(calls_that_are_looked_at),
        cmocka_unit_test(urgent_calls_go_out_at_once),
        cmocka_unit_test(bodies_of_every_size),
        cmocka_unit_test(bodies_that_are_not_sent),
        cmocka_unit_test(a_full_socket),
        cmocka_unit_test(the_other_end_is_gone),
        cmocka_unit_test(answers_before_their_calls),
        cmocka_unit_test(what_was_begun),
        cmocka_unit_test(nothing_is_begun_at_a_dead_end),
        cmocka_unit_test(other_frames),
        cmocka_unit_test(closed_when_the_last_one_goes),
        cmocka_unit_test(lent_and_given_back),
        cmocka_unit_test(not_lent_after_the_end),
        cmocka_unit_test(no_memory_for_a_dispatcher),
        cmocka_unit_test(no_memory_for_a_call_that_goes_out),
        cmocka_unit_test(no_memory_for_the_queue),
        cmocka_unit_test(no_memory_for_the_next_in_the_queue),
        cmocka_unit_test(no_memory_for_other_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
