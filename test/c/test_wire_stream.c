/* wire/stream.c: who is given chunks, what they cost, and what whoever consumes them has to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"
#include "wire/stream.h"

enum { ME = 7, CALLS = 3, DEPTH = 4, CREDIT = 10 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct fake_lane l;
    unsigned seen; /* by look */
};

static struct room *enter(bool opened) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    assert_true(pc_dispatch_init(&r->d, DEPTH, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    if (opened) {
        fake_lane_open(&r->l, &r->d, 0);
    } else {
        fake_lane_init(&r->l, &r->d, 0);
    }
    return r;
}

/* It is sent, too, unless it waits. */
static enum pc_submitted submit(struct room *r, int i, int64_t credit) {
    uint8_t data[] = "body";
    r->calls[i].stream = credit > 0;
    r->calls[i].credit = credit;
    return fake_submit(&r->d, ME, &r->calls[i], (struct pc_body){.data = data, .n = sizeof data}, 0);
}

static void leave(struct room *r) {
    bool left, known;
    for (int i = 0; i < CALLS; i++) {
        if (r->calls[i].id != 0 && r->calls[i].state != PC_CALL_OVER) {
            assert_non_null(pc_lane_take(&r->l.lane, r->calls[i].id, PC_ANY_FORMAT, 0, &left, &known));
        }
    }
    (void)pc_lane_close(&r->l.lane, at);
    assert_int_equal(r->l.held, 0);
    pc_lane_destroy(&r->l.lane);
    close(r->l.peer);
    if (r->l.closed == 0) {
        close(r->l.lane.fd);
    }
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
    free(r);
}

static void look(const struct pc_call *call, void *context) {
    struct room *r = context;
    assert_true(call->stream);
    r->seen++;
}

static enum pc_chunk chunk(struct room *r, int i) { return pc_lane_chunk(&r->l.lane, r->calls[i].id, look, r); }

static enum pc_chunk charge(struct room *r, int i, int64_t cost, int64_t last) {
    return pc_lane_charge(&r->l.lane, r->calls[i].id, cost, last);
}

static void give(struct room *r, int i, int64_t credit) {
    uint64_t id = 0;
    struct pc_lane *lane = pc_dispatch_find_stream(&r->d, ME, is_call, &r->calls[i], credit, &at, &id);
    assert_ptr_equal(lane, &r->l.lane);
    assert_int_equal(id, r->calls[i].id);
    pc_lane_unpin(lane, at);
}

static void a_chunk_costs_more_the_larger_it_is(void **state) {
    (void)state;
    assert_int_equal(pc_chunk_cost(0), 1);
    assert_int_equal(pc_chunk_cost(PC_CHUNK_SHARE - 1), 1);
    assert_int_equal(pc_chunk_cost(PC_CHUNK_SHARE), 2);
    assert_int_equal(pc_chunk_cost(1024 * 1024), 17);
}

static void as_many_as_there_is_credit_for(void **state) {
    (void)state;
    struct room *r = enter(true);
    assert_int_equal(submit(r, 0, CREDIT), PC_SUBMIT_OUT);
    assert_int_equal(chunk(r, 0), PC_CHUNK_WANTED);
    assert_int_equal(r->seen, 1);
    assert_int_equal(charge(r, 0, CREDIT - 1, 1), PC_CHUNK_WANTED);
    assert_int_equal(charge(r, 0, 20, 20), PC_CHUNK_WANTED); /* the last may take more than there is */
    assert_int_equal(charge(r, 0, 1, 1), PC_CHUNK_WRONG);
    leave(r);
}

static void credit_that_is_given_is_there(void **state) {
    (void)state;
    struct room *r = enter(true);
    assert_int_equal(submit(r, 0, CREDIT), PC_SUBMIT_OUT);
    assert_int_equal(charge(r, 0, CREDIT, 1), PC_CHUNK_WANTED);
    give(r, 0, 2);
    assert_int_equal(charge(r, 0, 2, 1), PC_CHUNK_WANTED);
    assert_int_equal(charge(r, 0, 2, 1), PC_CHUNK_WRONG);
    leave(r);
}

static void a_batch_past_the_credit_is_wrong(void **state) {
    (void)state;
    struct room *r = enter(true);
    assert_int_equal(submit(r, 0, 3), PC_SUBMIT_OUT);
    assert_int_equal(charge(r, 0, 4, 1), PC_CHUNK_WRONG); /* the fourth had none any more */
    leave(r);
}

static void only_of_streams_that_are_out(void **state) {
    (void)state;
    struct room *r = enter(true);
    bool left, known;
    uint64_t id;
    assert_int_equal(submit(r, 0, 0), PC_SUBMIT_OUT);
    assert_int_equal(chunk(r, 0), PC_CHUNK_WRONG);
    assert_int_equal(charge(r, 0, 1, 1), PC_CHUNK_WRONG);
    assert_null(pc_dispatch_find_stream(&r->d, ME, is_call, &r->calls[0], 1, &at, &id));
    assert_int_equal(submit(r, 1, CREDIT), PC_SUBMIT_OUT);
    assert_non_null(pc_lane_take(&r->l.lane, r->calls[1].id, PC_MESSAGEPACK, 0, &left, &known));
    assert_int_equal(chunk(r, 1), PC_CHUNK_WRONG);
    assert_null(pc_dispatch_find_stream(&r->d, ME, is_call, &r->calls[1], 1, &at, &id));
    assert_null(pc_dispatch_find_stream(&r->d, ME + 1, is_call, &r->calls[0], 1, &at, &id));
    assert_int_equal(r->seen, 0);
    leave(r);
}

/* Its frame is not all out: nothing can have come of it. */
static void not_before_its_frame_has_gone(void **state) {
    (void)state;
    struct room *r = enter(true);
    uint8_t data[] = "body";
    struct pc_body body = {.data = data, .n = sizeof data, .owned = false};
    struct pc_lane *lane;
    r->calls[0].stream = true;
    r->calls[0].credit = CREDIT;
    assert_int_equal(pc_dispatch_submit(&r->d, ME, &r->calls[0], &body, 0, at, &lane), PC_SUBMIT_OUT);
    assert_int_equal(chunk(r, 0), PC_CHUNK_WRONG);
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    pc_lane_unpin(lane, at);
    assert_int_equal(chunk(r, 0), PC_CHUNK_WANTED);
    leave(r);
}

static void one_that_waits_has_nothing_to_be_told(void **state) {
    (void)state;
    struct room *r = enter(false);
    uint64_t id;
    assert_int_equal(submit(r, 0, CREDIT), PC_SUBMIT_QUEUED);
    assert_null(pc_dispatch_find_stream(&r->d, ME, is_call, &r->calls[0], 1, &at, &id));
    assert_int_equal(pc_dispatch_deafen(&r->d, ME, is_call, &r->calls[0]), 0);
    struct pc_call *taken = pc_dispatch_end(&r->d);
    assert_ptr_equal(taken, &r->calls[0]);
    free(taken->body.data);
    leave(r);
}

/* Whoever leaves knows how many messages there are, and that no more come. */
static void who_wants_no_more_is_sent_no_more(void **state) {
    (void)state;
    struct room *r = enter(true);
    assert_int_equal(submit(r, 0, CREDIT), PC_SUBMIT_OUT);
    assert_int_equal(charge(r, 0, 1, 1), PC_CHUNK_WANTED);
    assert_int_equal(charge(r, 0, 3, 1), PC_CHUNK_WANTED);
    assert_int_equal(pc_dispatch_deafen(&r->d, ME, is_call, &r->calls[0]), 2);
    assert_int_equal(chunk(r, 0), PC_CHUNK_LEFT);
    assert_int_equal(charge(r, 0, 1, 1), PC_CHUNK_LEFT);
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[0], false), PC_LEAVE_OUT);
    assert_int_equal(chunk(r, 0), PC_CHUNK_LEFT);
    assert_int_equal(r->seen, 0);
    leave(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_costs_more_the_larger_it_is),   cmocka_unit_test(as_many_as_there_is_credit_for),
        cmocka_unit_test(credit_that_is_given_is_there),         cmocka_unit_test(a_batch_past_the_credit_is_wrong),
        cmocka_unit_test(only_of_streams_that_are_out),          cmocka_unit_test(not_before_its_frame_has_gone),
        cmocka_unit_test(one_that_waits_has_nothing_to_be_told), cmocka_unit_test(who_wants_no_more_is_sent_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
