/* wire/dispatch.c: calls that wait for a slot instead of sending a frame, and calls that are made for the channel that they will go to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"

enum { ME = 7, CALLS = 8, LANES = 2 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct fake_lane lanes[LANES];
};

static struct room room;

/* Lanes of one call that have not got their channels: slots. Or of more, open. */
static struct room *enter(unsigned depth, bool open) {
    memset(&room, 0, sizeof room);
    room.me.key = ME;
    assert_true(pc_dispatch_init(&room.d, depth, 1, false));
    assert_null(pc_dispatch_meet(&room.d, &room.me));
    for (unsigned i = 0; i < LANES; i++) {
        if (open) {
            fake_lane_open(&room.lanes[i], &room.d, i);
        } else {
            fake_lane_init(&room.lanes[i], &room.d, i);
        }
    }
    return &room;
}

static void leave(struct room *r, bool open) {
    for (unsigned i = 0; i < LANES; i++) {
        if (!open) {
            fake_close(&r->lanes[i], NULL); /* it was not the lane's to close */
            r->lanes[i].closed = 0;
            (void)pc_lane_close(&r->lanes[i].lane, at);
            r->lanes[i].closed = 1;
        }
        fake_lane_destroy(&r->lanes[i]);
    }
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
}

static enum pc_submitted submit(struct room *r, uint8_t i, struct pc_body body, int64_t now) {
    return fake_submit(&r->d, ME, &r->calls[i], body, now);
}

/* Call `i`, whose body is one byte, the number. */
static void queue_call(struct room *r, uint8_t i, int64_t now) {
    assert_int_equal(submit(r, i, (struct pc_body){.data = &i, .n = 1}, now), PC_SUBMIT_QUEUED);
}

static void queue_for_slot(struct room *r, uint8_t i, int64_t now) {
    r->calls[i].slot = true;
    assert_int_equal(submit(r, i, (struct pc_body){.n = 0}, now), PC_SUBMIT_QUEUED);
    assert_false(r->calls[i].body.owned);
}

/* The slot of a lane is lent to it, and goes back when its calls are answered; how many there were. */
static unsigned lend(struct room *r, unsigned i) {
    struct pc_lane *lane = &r->lanes[i].lane;
    uint64_t last_id;
    unsigned n = 0;
    if (!pc_lane_open(lane, lane->last_id, true, 0, at)) {
        return 0;
    }
    while (lane->first != NULL) {
        assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
        assert_non_null(fake_answer(lane, lane->first->id));
        n++;
    }
    assert_true(pc_lane_return(lane, at, &last_id));
    return n;
}

/* The first calls, one in each lane. */
static void answer_each(struct room *r) {
    for (unsigned i = 0; i < LANES; i++) {
        assert_non_null(fake_answer(r->calls[i].lane, r->calls[i].id));
    }
}

/* ---- Slots */

/* Whoever waits for a slot has its turn, and nobody behind it before that. */
static void in_turn(void **state) {
    (void)state;
    struct room *r = enter(1, false);
    struct pc_lane *lane = &r->lanes[0].lane;
    queue_call(r, 0, 1);
    queue_for_slot(r, 1, 2);
    queue_for_slot(r, 2, 3);
    queue_call(r, 3, 4);
    queue_call(r, 4, 5);
    assert_null(pc_lane_take_for_slot(lane)); /* one with a frame comes first */
    assert_int_equal(lend(r, 0), 1);
    assert_int_equal(r->calls[3].state, PC_CALL_QUEUED);
    assert_true(pc_lane_would_open(lane));
    assert_int_equal(lend(r, 0), 0);
    assert_ptr_equal(pc_lane_take_for_slot(lane), &r->calls[1]);
    assert_int_equal(r->calls[1].state, PC_CALL_OVER);
    assert_ptr_equal(pc_lane_take_for_slot(&r->lanes[1].lane), &r->calls[2]);
    assert_null(pc_lane_take_for_slot(lane));
    assert_true(pc_lane_would_open(lane));
    assert_int_equal(lend(r, 0), 2);
    assert_false(pc_lane_would_open(lane));
    assert_null(pc_lane_take_for_slot(lane));
    leave(r, false);
}

/* A lane that has its channel, and room, is none for it. */
static void not_into_a_lane(void **state) {
    (void)state;
    struct room *r = enter(2, true);
    struct pc_lane *lane = &r->lanes[0].lane;
    uint64_t last_id;
    queue_for_slot(r, 0, 1);
    expect_nothing(&r->lanes[0]);
    assert_true(pc_lane_pin(lane, at));
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_false(pc_lane_open(lane, last_id, true, 0, at));
    assert_ptr_equal(pc_lane_take_for_slot(lane), &r->calls[0]);
    assert_true(pc_lane_open(lane, last_id, false, 0, at));
    fake_send(lane);
    leave(r, true);
}

/* What can go nowhere else was there first. */
static void behind_a_targeted_call(void **state) {
    (void)state;
    struct room *r = enter(1, false);
    r->calls[0].target = &r->lanes[0].lane;
    queue_call(r, 0, 1);
    queue_for_slot(r, 1, 2);
    assert_null(pc_lane_take_for_slot(&r->lanes[0].lane));
    assert_int_equal(lend(r, 0), 1);
    assert_ptr_equal(pc_lane_take_for_slot(&r->lanes[0].lane), &r->calls[1]);
    leave(r, false);
}

/* Nor does a worker's slot that will not come back, or that is reserved. */
static void slots_that_are_none(void **state) {
    (void)state;
    struct room *r = enter(1, false);
    queue_for_slot(r, 0, 1);
    r->lanes[0].lane.reserved = true;
    assert_null(pc_lane_take_for_slot(&r->lanes[0].lane));
    assert_false(pc_lane_would_open(&r->lanes[0].lane) && !pc_lane_wants(&r->lanes[0].lane));
    r->lanes[0].lane.reserved = false;
    pc_lane_stop(&r->lanes[0].lane);
    assert_null(pc_lane_take_for_slot(&r->lanes[0].lane));
    assert_false(pc_lane_would_open(&r->lanes[0].lane));
    assert_ptr_equal(pc_lane_take_for_slot(&r->lanes[1].lane), &r->calls[0]);
    leave(r, false);
}

static void who_leaves_waits_no_more(void **state) {
    (void)state;
    struct room *r = enter(1, false);
    queue_for_slot(r, 0, 1);
    queue_for_slot(r, 1, 2);
    queue_for_slot(r, 2, 3);
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[1], true), PC_LEAVE_QUEUED);
    assert_ptr_equal(pc_lane_take_for_slot(&r->lanes[0].lane), &r->calls[0]);
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[0], true), PC_LEAVE_NONE);
    assert_ptr_equal(pc_dispatch_end(&r->d), &r->calls[2]);
    assert_null(pc_lane_take_for_slot(&r->lanes[0].lane));
    leave(r, false);
}

static void they_count_among_those_that_wait(void **state) {
    (void)state;
    struct room *r = enter(1, false);
    pc_dispatch_limit(&r->d, 1);
    queue_for_slot(r, 0, 1);
    r->calls[1].slot = true;
    assert_int_equal(submit(r, 1, (struct pc_body){.n = 0}, 2), PC_SUBMIT_FULL);
    assert_true(pc_dispatch_waits(&r->d));
    assert_ptr_equal(pc_lane_take_for_slot(&r->lanes[0].lane), &r->calls[0]);
    assert_false(pc_dispatch_waits(&r->d));
    leave(r, false);
}

/* ---- For a channel */

static void the_next_channel(void **state) {
    (void)state;
    struct room *r = enter(1, true);
    for (uint8_t i = 0; i < LANES; i++) {
        struct fake_lane *next = pc_dispatch_next(&r->d, at);
        assert_non_null(next);
        assert_int_equal(next->held, 1);
        r->calls[i].target = &next->lane;
        assert_int_equal(submit(r, i, (struct pc_body){.data = &i, .n = 1}, 0), PC_SUBMIT_OUT);
        assert_ptr_equal(r->calls[i].lane, &next->lane);
        fake_release(next);
    }
    assert_null(pc_dispatch_next(&r->d, at));
    answer_each(r);
    leave(r, true);
}

/* Whoever has more to do than runs at once may want another worker. */
static void a_busy_next_one_is_told(void **state) {
    (void)state;
    struct room *r = enter(2, true);
    pc_dispatch_watch(&r->d);
    for (uint8_t i = 0; i < LANES; i++) {
        assert_int_equal(submit(r, i, (struct pc_body){.data = &i, .n = 1}, 0), PC_SUBMIT_OUT);
    }
    assert_false(pc_dispatch_wants(&r->d));
    struct fake_lane *next = pc_dispatch_next(&r->d, at);
    assert_true(pc_dispatch_wants(&r->d));
    fake_release(next);
    answer_each(r);
    leave(r, true);
}

/* The frame says that names stand at its end, and what they name is counted, but is not in the socket. */
static void what_lies_apart(void **state) {
    (void)state;
    struct room *r = enter(1, true);
    uint8_t byte = 1, head[PC_FRAME_HEADER + 4];
    assert_int_equal(submit(r, 0, (struct pc_body){.data = &byte, .n = 1, .apart = 1000}, 0), PC_SUBMIT_OUT);
    struct fake_lane *c = (struct fake_lane *)r->calls[0].lane->channel;
    read_exactly(c->peer, head, sizeof head);
    assert_int_equal(pc_frame_length(head), 4);
    assert_int_equal(head[PC_FRAME_HEADER], 0x99);
    assert_int_equal(r->calls[0].bytes, PC_FRAME_HEADER + 4 + 1000);
    assert_int_equal(pc_lane_silence(&c->lane), 1);         /* its worker may have begun it */
    assert_non_null(fake_answer(&c->lane, r->calls[0].id)); /* so it is known to be sent */
    leave(r, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_turn),
        cmocka_unit_test(not_into_a_lane),
        cmocka_unit_test(behind_a_targeted_call),
        cmocka_unit_test(slots_that_are_none),
        cmocka_unit_test(who_leaves_waits_no_more),
        cmocka_unit_test(they_count_among_those_that_wait),
        cmocka_unit_test(the_next_channel),
        cmocka_unit_test(a_busy_next_one_is_told),
        cmocka_unit_test(what_lies_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
