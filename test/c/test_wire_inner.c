/* wire/inner.c: calls that go to a worker which waits for what makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"
#include "wire/inner.h"
#include "wire/tenant.h"

enum { ME = 7, CALLS = 8, F = 100, G = 101, H = 102 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct pc_outer outer[CALLS][2];
    struct fake_lane l[2];
};

static struct room *enter_with(unsigned depth, unsigned lanes) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    assert_true(pc_dispatch_init(&r->d, depth, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_open(&r->l[i], &r->d, i);
    }
    return r;
}

static struct room *enter(void) { return enter_with(1, 1); }

static void leave(struct room *r, unsigned lanes) {
    assert_int_equal(r->d.inner, 0);
    for (unsigned i = 0; i < lanes; i++) {
        assert_int_equal(r->l[i].lane.load, 0);
        assert_int_equal(r->l[i].lane.inner, 0);
        assert_int_equal(r->l[i].lane.waits_count, 0);
        fake_lane_destroy(&r->l[i]);
    }
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
    free(r);
}

static enum pc_submitted submit(struct room *r, int i) {
    static uint8_t byte[] = {0xc0};
    return fake_submit(&r->d, ME, &r->calls[i], (struct pc_body){.data = byte, .n = sizeof byte}, 0);
}

/* The call stands inside of one in that lane, which waits for a function; or for nothing that leaves room. */
static struct pc_call *inside(struct room *r, int i, struct fake_lane *l, uint64_t function) {
    struct pc_call *call = &r->calls[i];
    r->outer[i][call->outer_count++] = (struct pc_outer){.lane = &l->lane, .function = function};
    call->outer = r->outer[i];
    call->urgent = true;
    return call;
}

static void expect(struct fake_lane *l, uint8_t kind, uint64_t id) {
    uint8_t frame[PC_FRAME_HEADER + 4];
    fake_lane_flush(l);
    read_exactly(l->peer, frame, sizeof frame);
    assert_int_equal(frame[PC_FRAME_HEADER + 1], kind);
    assert_int_equal(frame[PC_FRAME_HEADER + 2], id);
}

static void answer(struct room *r, struct fake_lane *l, uint64_t id, int i) {
    assert_ptr_equal(fake_answer(&l->lane, id), &r->calls[i]);
}

/* Call 0 is out under the id 1, and waits for F. */
static void begin(struct room *r) {
    assert_int_equal(submit(r, 0), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_CALL, 1);
    assert_true(pc_lane_waits(&r->l[0].lane, 1, F));
}

static void one_inside_of_another(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 2);
    /* There it waits for something, and so on. */
    assert_true(pc_lane_waits(&r->l[0].lane, 2, G));
    inside(r, 2, &r->l[0], G);
    assert_int_equal(submit(r, 2), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 3);
    answer(r, &r->l[0], 3, 2);
    pc_lane_waited(&r->l[0].lane, G, 0);
    answer(r, &r->l[0], 2, 1);
    pc_lane_waited(&r->l[0].lane, F, 0);
    answer(r, &r->l[0], 1, 0);
    leave(r, 1);
}

/* What else waits is not sent meanwhile, and comes when all have ended. */
static void others_wait(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    assert_int_equal(submit(r, 3), PC_SUBMIT_QUEUED);
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 2);
    answer(r, &r->l[0], 2, 1);
    fake_lane_flush(&r->l[0]);
    expect_nothing(&r->l[0]);
    answer(r, &r->l[0], 1, 0);
    expect(&r->l[0], PC_KIND_CALL, 3);
    answer(r, &r->l[0], 3, 3);
    leave(r, 1);
}

/* One at a time, first come first served, and only of this function. */
static void siblings_and_strangers(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    inside(r, 1, &r->l[0], F);
    inside(r, 2, &r->l[0], F);
    inside(r, 3, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 2);
    assert_int_equal(submit(r, 2), PC_SUBMIT_QUEUED);
    assert_int_equal(submit(r, 3), PC_SUBMIT_QUEUED);
    assert_int_equal(r->d.inner, 2);
    /* What runs inside waits, which is no room for its siblings; one that nobody knows of has none at all. */
    assert_true(pc_lane_waits(&r->l[0].lane, 2, G));
    inside(r, 4, &r->l[0], H);
    assert_int_equal(submit(r, 4), PC_SUBMIT_QUEUED);
    fake_lane_flush(&r->l[0]);
    expect_nothing(&r->l[0]);
    answer(r, &r->l[0], 2, 1);
    expect(&r->l[0], PC_KIND_INNER, 3);
    answer(r, &r->l[0], 3, 2);
    expect(&r->l[0], PC_KIND_INNER, 4);
    answer(r, &r->l[0], 4, 3);
    answer(r, &r->l[0], 1, 0);
    expect(&r->l[0], PC_KIND_CALL, 5);
    answer(r, &r->l[0], 5, 4);
    leave(r, 1);
}

/* A worker that is free goes first; else any of those around it that is at the top, the innermost before others. */
static void which_worker(void **state) {
    (void)state;
    struct room *r = enter_with(1, 2);
    assert_int_equal(submit(r, 0), PC_SUBMIT_OUT);
    struct fake_lane *one = r->calls[0].lane == &r->l[0].lane ? &r->l[0] : &r->l[1];
    struct fake_lane *other = one == &r->l[0] ? &r->l[1] : &r->l[0];
    expect(one, PC_KIND_CALL, 1);
    assert_true(pc_lane_waits(&one->lane, 1, F));
    inside(r, 1, one, F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(other, PC_KIND_CALL, 1);
    assert_true(pc_lane_waits(&other->lane, 1, F));
    for (int i = 2; i < 5; i++) {
        inside(r, i, other, F);
        inside(r, i, one, F);
        assert_int_equal(submit(r, i), i < 4 ? PC_SUBMIT_OUT : PC_SUBMIT_QUEUED);
    }
    expect(other, PC_KIND_INNER, 2);
    expect(one, PC_KIND_INNER, 2);
    answer(r, one, 2, 3);
    expect(one, PC_KIND_INNER, 3);
    answer(r, one, 3, 4);
    answer(r, other, 2, 2);
    answer(r, other, 1, 1);
    answer(r, one, 1, 0);
    leave(r, 2);
}

/* One that is for this worker only runs inside as well, or is refused where that cannot be. */
static void targeted(void **state) {
    (void)state;
    struct room *r = enter_with(1, 2);
    assert_int_equal(submit(r, 0), PC_SUBMIT_OUT);
    struct fake_lane *one = r->calls[0].lane == &r->l[0].lane ? &r->l[0] : &r->l[1];
    expect(one, PC_KIND_CALL, 1);
    assert_true(pc_lane_waits(&one->lane, 1, F));
    for (int i = 1; i < 4; i++) {
        inside(r, i, one, i < 3 ? F : 0)->target = &one->lane;
    }
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(one, PC_KIND_INNER, 2);
    assert_int_equal(submit(r, 2), PC_SUBMIT_QUEUED);
    assert_int_equal(submit(r, 3), PC_SUBMIT_HELD);
    answer(r, one, 2, 1);
    expect(one, PC_KIND_INNER, 3);
    answer(r, one, 3, 2);
    answer(r, one, 1, 0);
    leave(r, 2);
}

/* The function is answered, or its call has ended: nothing is sent inside any more. */
static void waits_end(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    pc_lane_waited(&r->l[0].lane, F, 0);
    pc_lane_waited(&r->l[0].lane, F, 0);
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    assert_true(pc_lane_waits(&r->l[0].lane, 1, G));
    assert_false(pc_lane_waits(&r->l[0].lane, 1, G));
    assert_false(pc_lane_waits(&r->l[0].lane, 9, H));
    answer(r, &r->l[0], 1, 0);
    assert_int_equal(r->l[0].lane.waits_count, 0);
    expect(&r->l[0], PC_KIND_CALL, 2);
    answer(r, &r->l[0], 2, 1);
    leave(r, 1);
}

/* One that is not waited for any more does not hide those below: what its function calls comes when it is answered. */
static void a_wait_that_was_given_up(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    assert_true(pc_lane_waits(&r->l[0].lane, 1, G));
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    pc_lane_waited(&r->l[0].lane, G, 0);
    expect(&r->l[0], PC_KIND_INNER, 2);
    /* And the one around it may end before it. */
    answer(r, &r->l[0], 1, 0);
    assert_int_equal(r->l[0].lane.load, 1);
    assert_int_equal(submit(r, 3), PC_SUBMIT_QUEUED);
    answer(r, &r->l[0], 2, 1);
    expect(&r->l[0], PC_KIND_CALL, 3);
    answer(r, &r->l[0], 3, 3);
    leave(r, 1);
}

/* Nobody waits for it: its lane goes on, with what is around it. */
static void leaving(void **state) {
    (void)state;
    struct room *r = enter();
    bool left, known;
    unsigned others;
    begin(r);
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 2);
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[1], false), PC_LEAVE_INNER);
    assert_int_equal(r->calls[1].id, 2);
    assert_true(r->l[0].lane.open);
    inside(r, 2, &r->l[0], F);
    assert_int_equal(submit(r, 2), PC_SUBMIT_QUEUED);
    /* Its worker says that it has not begun. */
    assert_ptr_equal(pc_lane_take(&r->l[0].lane, 2, PC_ANY_FORMAT, 0, &left, &known), &r->calls[1]);
    assert_true(left);
    expect(&r->l[0], PC_KIND_INNER, 3);
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[2], false), PC_LEAVE_INNER);
    assert_true(pc_lane_give_up(&r->l[0].lane, 3, &others));
    assert_int_equal(others, 1);
    answer(r, &r->l[0], 1, 0);
    answer(r, &r->l[0], 3, 2);
    leave(r, 1);
}

/* A worker that is to leave has to end its calls, and so to run what is inside of them; one that is given up is sent nothing. */
static void a_lane_that_ends(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    assert_int_equal(pc_lane_drain(&r->l[0].lane), PC_LANE_BUSY);
    inside(r, 1, &r->l[0], F);
    assert_int_equal(submit(r, 1), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_INNER, 2);
    assert_false(pc_lane_is_drained(&r->l[0].lane));
    answer(r, &r->l[0], 2, 1);
    inside(r, 2, &r->l[0], F);
    (void)pc_lane_silence(&r->l[0].lane);
    assert_int_equal(submit(r, 2), PC_SUBMIT_QUEUED);
    assert_ptr_equal(pc_lane_take_after(&r->l[0].lane, 0), &r->calls[0]);
    assert_int_equal(r->l[0].lane.waits_count, 0);
    assert_ptr_equal(pc_dispatch_end(&r->d), &r->calls[2]);
    free(r->calls[2].body.data);
    leave(r, 1);
}

/* So many, each inside of the one before, and no more. */
static void most_waits(void **state) {
    (void)state;
    struct room *r = enter();
    begin(r);
    for (uint64_t i = 1; i < PC_MOST_WAITS; i++) {
        assert_true(pc_lane_waits(&r->l[0].lane, 1, F + i));
    }
    assert_false(pc_lane_waits(&r->l[0].lane, 1, F + PC_MOST_WAITS));
    answer(r, &r->l[0], 1, 0);
    leave(r, 1);
}

/* Where more than one call may lie in a worker nothing is sent inside. */
static void pipelined(void **state) {
    (void)state;
    struct room *r = enter_with(2, 1);
    assert_int_equal(submit(r, 0), PC_SUBMIT_OUT);
    expect(&r->l[0], PC_KIND_CALL, 1);
    assert_false(pc_lane_waits(&r->l[0].lane, 1, F));
    inside(r, 1, &r->l[0], 0)->target = &r->l[0].lane;
    assert_int_equal(submit(r, 1), PC_SUBMIT_HELD);
    answer(r, &r->l[0], 1, 0);
    leave(r, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_inside_of_another),
        cmocka_unit_test(others_wait),
        cmocka_unit_test(siblings_and_strangers),
        cmocka_unit_test(which_worker),
        cmocka_unit_test(targeted),
        cmocka_unit_test(waits_end),
        cmocka_unit_test(a_wait_that_was_given_up),
        cmocka_unit_test(leaving),
        cmocka_unit_test(a_lane_that_ends),
        cmocka_unit_test(most_waits),
        cmocka_unit_test(pipelined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
