/* wire/take_over.c: a call that was made on a claimed channel becomes its lane's in the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"
#include "wire/tenant.h"

enum { ME = 7, STRANGER = 8, CALLS = 3, BYTES = 40, ID = 5 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct fake_lane l; /* whose channel somebody has claimed */
};

static struct room *enter(void) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    assert_true(pc_dispatch_init(&r->d, 1, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    fake_lane_init(&r->l, &r->d, 0);
    r->calls[0].bytes = BYTES;
    return r;
}

static enum pc_submitted take_over(struct room *r, uint64_t owner) {
    enum pc_submitted how = pc_lane_take_over(&r->l.lane, owner, &r->calls[0], ID, 0, at);
    if (how == PC_SUBMIT_OUT) {
        fake_send(&r->l.lane);
    }
    return how;
}

static void leave(struct room *r) {
    if (pc_lane_pin(&r->l.lane, at)) { /* it is the lane's */
        pc_lane_unpin(&r->l.lane, at);
    } else {
        close(r->l.lane.fd);
        r->l.closed++;
    }
    fake_lane_destroy(&r->l);
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
    free(r);
}

static struct pc_call *answer(struct room *r, enum pc_format format) {
    bool left, known;
    struct pc_call *call = pc_lane_take(&r->l.lane, ID, format, 0, &left, &known);
    assert_true(call == NULL || !left);
    return call;
}

static enum pc_submitted submit(struct room *r, int i) {
    static uint8_t byte[] = {0xc0};
    struct pc_body body = {.data = byte, .n = sizeof byte, .owned = false};
    struct pc_lane *lane;
    return pc_dispatch_submit(&r->d, ME, &r->calls[i], &body, 0, at, &lane);
}

/* Call 1 is all that waits. */
static void end_waiting(struct room *r) {
    assert_ptr_equal(pc_dispatch_end(&r->d), &r->calls[1]);
    free(r->calls[1].body.data);
}

static void seen(struct pc_call *call, void *context) { *(struct pc_call **)context = call; }

/* Its worker has had the frame, so nothing is sent; it is found, answered, and then the channel goes back, whose ids go on. */
static void from_claim_to_slot(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_call *found = NULL;
    uint64_t last_id = 0;
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    expect_nothing(&r->l);
    assert_true(pc_lane_awaits(&r->l.lane));
    assert_true(pc_lane_look(&r->l.lane, ID, seen, &found));
    assert_ptr_equal(found, &r->calls[0]);
    assert_null(answer(r, PC_JSON));
    assert_ptr_equal(answer(r, PC_MESSAGEPACK), &r->calls[0]);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_true(pc_lane_return(&r->l.lane, at, &last_id));
    assert_int_equal(last_id, ID);
    leave(r);
}

static void whoever_is_not_known(void **state) {
    (void)state;
    struct room *r = enter();
    assert_int_equal(take_over(r, STRANGER), PC_SUBMIT_STRANGER);
    assert_false(pc_lane_pin(&r->l.lane, at)); /* nothing has happened */
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_non_null(answer(r, PC_MESSAGEPACK));
    leave(r);
}

/* What has been left there for the worker, which is no call, goes out now. */
static void with_frames_that_wait(void **state) {
    (void)state;
    static const uint8_t frame[] = {0, 0, 0, 1, 0xc0};
    struct room *r = enter();
    struct pc_call *found = NULL;
    uint8_t got[sizeof frame];
    assert_true(pc_lane_append(&r->l.lane, frame, sizeof frame, false));
    assert_int_equal(pc_lane_take_over(&r->l.lane, ME, &r->calls[0], ID, 0, at), PC_SUBMIT_OUT);
    assert_true(pc_lane_look(&r->l.lane, ID, seen, &found)); /* it was sent before these */
    fake_send(&r->l.lane);
    read_exactly(r->l.peer, got, sizeof got);
    assert_memory_equal(got, frame, sizeof frame);
    assert_non_null(answer(r, PC_MESSAGEPACK));
    leave(r);
}

/* When its worker is dead the call is one that had begun. */
static void it_ends_as_one_that_had_begun(void **state) {
    (void)state;
    struct room *r = enter();
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_int_equal(pc_lane_silence(&r->l.lane), ID);
    assert_null(pc_lane_take_after(&r->l.lane, ID));
    assert_ptr_equal(pc_lane_take_after(&r->l.lane, 0), &r->calls[0]);
    leave(r);
}

/* Whoever has ended the lane has not seen this call, so the lane does not take it. */
static void a_worker_at_its_end(void **state) {
    (void)state;
    struct room *r = enter();
    assert_int_equal(pc_lane_silence(&r->l.lane), 0);
    assert_int_equal(take_over(r, ME), PC_SUBMIT_GONE);
    leave(r);
    r = enter();
    assert_true(pc_lane_close(&r->l.lane, at));
    assert_int_equal(take_over(r, ME), PC_SUBMIT_GONE);
    assert_int_equal(r->l.closed, 0); /* the claim's owner has it still */
    leave(r);
}

/* A worker that is to leave: its process has been told that the channel was somebody's, and hears when the call has ended. */
static void a_worker_that_is_to_leave(void **state) {
    (void)state;
    struct room *r = enter();
    assert_int_equal(pc_lane_drain(&r->l.lane), PC_LANE_AWAY);
    assert_false(pc_lane_is_drained(&r->l.lane));
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_false(pc_lane_is_drained(&r->l.lane));
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED); /* it takes no others */
    assert_non_null(answer(r, PC_MESSAGEPACK));
    assert_true(pc_lane_is_drained(&r->l.lane));
    assert_false(pc_lane_is_drained(&r->l.lane));
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED);
    end_waiting(r);
    leave(r);
}

/* Others wait behind it, and go out when it has ended, as in any lane. */
static void others_wait(void **state) {
    (void)state;
    struct room *r = enter();
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED);
    assert_non_null(answer(r, PC_MESSAGEPACK));
    assert_int_equal(r->calls[1].state, PC_CALL_OUT);
    assert_int_equal(r->calls[1].id, ID + 1);
    fake_lane_flush(&r->l);
    expect_call(&r->l, ID + 1, "\xc0", 1);
    assert_non_null(fake_answer(&r->l.lane, ID + 1));
    leave(r);
}

/* Its owner leaves: the worker will be replaced, as one whose call was cut. */
static void its_owner_leaves(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_call *call;
    struct pc_lane *lane = NULL;
    uint64_t id;
    bool goes_on, left, known;
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_int_equal(pc_dispatch_leave(&r->d, ME, NULL, NULL, false, at, &call, &lane, &id, &goes_on), PC_LEAVE_OUT);
    assert_ptr_equal(lane, &r->l.lane);
    assert_int_equal(id, ID);
    pc_lane_unpin(lane, at);
    assert_false(pc_lane_look(lane, ID, seen, &call)); /* nobody hears what it calls */
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    assert_ptr_equal(pc_lane_take(lane, ID, PC_MESSAGEPACK, 0, &left, &known), &r->calls[0]);
    assert_true(left);
    end_waiting(r);
    leave(r);
}

/* One that is kept for a session takes no calls of others afterwards, and keeps its channel. */
static void a_lane_that_is_reserved(void **state) {
    (void)state;
    struct room *r = enter();
    uint64_t last_id;
    uint64_t none[1];
    assert_int_equal(pc_lane_retire(&r->l.lane, none, 1), 0);
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    assert_non_null(answer(r, PC_MESSAGEPACK));
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED);
    assert_true(pc_lane_pin(&r->l.lane, at));
    assert_false(pc_lane_return(&r->l.lane, at, &last_id));
    pc_lane_unpin(&r->l.lane, at);
    end_waiting(r);
    leave(r);
}

/* Its owner finds it as long as it has not ended, and nobody else does. */
static void looked_at_by_its_owner(void **state) {
    (void)state;
    struct room *r = enter();
    struct pc_call *found = NULL;
    assert_false(pc_dispatch_look(&r->d, ME, is_call, &r->calls[0], seen, &found));
    assert_int_equal(submit(r, 1), PC_SUBMIT_QUEUED);
    assert_int_equal(take_over(r, ME), PC_SUBMIT_OUT);
    for (int i = 0; i < 2; i++) {
        assert_true(pc_dispatch_look(&r->d, ME, is_call, &r->calls[i], seen, &found));
        assert_ptr_equal(found, &r->calls[i]);
        assert_false(pc_dispatch_look(&r->d, STRANGER, is_call, &r->calls[i], seen, &found));
    }
    assert_non_null(answer(r, PC_MESSAGEPACK));
    assert_false(pc_dispatch_look(&r->d, ME, is_call, &r->calls[0], seen, &found));
    fake_lane_flush(&r->l);
    assert_non_null(fake_answer(&r->l.lane, ID + 1));
    leave(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_claim_to_slot),
        cmocka_unit_test(whoever_is_not_known),
        cmocka_unit_test(with_frames_that_wait),
        cmocka_unit_test(it_ends_as_one_that_had_begun),
        cmocka_unit_test(a_worker_at_its_end),
        cmocka_unit_test(a_worker_that_is_to_leave),
        cmocka_unit_test(others_wait),
        cmocka_unit_test(its_owner_leaves),
        cmocka_unit_test(a_lane_that_is_reserved),
        cmocka_unit_test(looked_at_by_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
