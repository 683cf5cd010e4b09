#ifndef PC_TEST_FAKE_LANES_H
#define PC_TEST_FAKE_LANES_H

/* Channels that are lanes, each over a socketpair, and what was done with them, counted. Include after cmocka.h. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/reader.h"
#include "wire/dispatch.h"
#include "wire/kinds.h"

enum { MAX_FRAME = 1 << 24 };

struct fake_lane {
    struct pc_lane lane;
    int peer;
    int held; /* kept, and not released */
    int closed;
};

static inline void fake_keep(void *channel) { ((struct fake_lane *)channel)->held++; }
static inline void fake_release(void *channel) { ((struct fake_lane *)channel)->held--; }
static inline void fake_close(void *channel, void *env) {
    struct fake_lane *c = channel;
    (void)env;
    c->closed++;
    close(c->lane.fd);
}

static const struct pc_lane_ops fake_ops = {.keep = fake_keep, .release = fake_release, .close = fake_close};
static const struct pc_lane_actor at = {.ops = &fake_ops, .env = NULL};

static inline void fake_lane_init(struct fake_lane *c, struct pc_dispatch *d, unsigned index) {
    int fd[2];
    memset(c, 0, sizeof *c);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    c->peer = fd[1];
    pc_lane_init(&c->lane, d, c, fd[0], index, MAX_FRAME);
}

/* Of a lane that is pinned, and is so no more: what is ready goes out. */
static inline void fake_send(struct pc_lane *lane) {
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    pc_lane_unpin(lane, at);
}

/* Opens it, and sends what waited. */
static inline void fake_lane_open(struct fake_lane *c, struct pc_dispatch *d, unsigned index) {
    fake_lane_init(c, d, index);
    assert_true(pc_lane_open(&c->lane, 0, false, 0, at));
    fake_send(&c->lane);
}

/* A lane whose calls are all gone. */
static inline void fake_lane_destroy(struct fake_lane *c) {
    (void)pc_lane_close(&c->lane, at);
    assert_int_equal(c->closed, 1);
    assert_int_equal(c->held, 0);
    pc_lane_destroy(&c->lane);
    close(c->peer);
}

static inline void fake_lane_flush(struct fake_lane *c) {
    assert_true(pc_lane_pin(&c->lane, at));
    fake_send(&c->lane);
}

/* What goes out is sent. */
static inline enum pc_submitted fake_submit(struct pc_dispatch *d, uint64_t owner, struct pc_call *call,
                                            struct pc_body body, int64_t now) {
    struct pc_lane *lane = NULL;
    enum pc_submitted how = pc_dispatch_submit(d, owner, call, &body, now, at, &lane);
    if (how == PC_SUBMIT_OUT) {
        fake_send(lane);
    }
    return how;
}

/* The call that an answer of the worker's ends; or NULL. */
static inline struct pc_call *fake_answer(struct pc_lane *lane, uint64_t id) {
    bool left, known;
    return pc_lane_take(lane, id, PC_MESSAGEPACK, 0, &left, &known);
}

static inline bool is_call(const struct pc_call *call, const void *which) { return call == which; }

/* Its owner, who lives, waits for this call no more; with `only_queued`, unless it is out. */
static inline enum pc_leaving fake_leave(struct pc_dispatch *d, uint64_t owner, const struct pc_call *call,
                                         bool only_queued) {
    struct pc_call *found;
    struct pc_lane *lane = NULL;
    uint64_t id = 0;
    bool goes_on = false;
    enum pc_leaving how = pc_dispatch_leave(d, owner, is_call, call, only_queued, at, &found, &lane, &id, &goes_on);
    assert_false(goes_on);
    if (how != PC_LEAVE_NONE && how != PC_LEAVE_QUEUED && !only_queued) {
        assert_ptr_equal(lane, call->lane);
        assert_int_equal(id, call->id);
        pc_lane_unpin(lane, at);
    } else {
        assert_null(lane);
    }
    if (how != PC_LEAVE_NONE) {
        assert_ptr_equal(found, call);
    }
    return how;
}

static inline void read_exactly(int fd, uint8_t *to, size_t n) {
    for (size_t got = 0; got < n;) {
        ssize_t some = read(fd, to + got, n - got);
        assert_true(some > 0);
        got += (size_t)some;
    }
}

/* The next thing that the worker finds is this call. */
static inline void expect_call(const struct fake_lane *c, uint64_t id, const void *body, size_t n) {
    uint8_t head[PC_FRAME_HEADER + 3];
    assert_true(id < 128);
    read_exactly(c->peer, head, sizeof head);
    assert_int_equal(pc_frame_length(head), 3 + n);
    assert_int_equal(head[PC_FRAME_HEADER], 0x97);
    assert_int_equal(head[PC_FRAME_HEADER + 1], PC_KIND_CALL);
    assert_int_equal(head[PC_FRAME_HEADER + 2], id);
    uint8_t *got = malloc(n);
    assert_non_null(got);
    read_exactly(c->peer, got, n);
    assert_memory_equal(got, body, n);
    free(got);
}

static inline void expect_nothing(const struct fake_lane *c) {
    char byte;
    assert_int_equal(recv(c->peer, &byte, 1, MSG_DONTWAIT), -1);
}

#endif
