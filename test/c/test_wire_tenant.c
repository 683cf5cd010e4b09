/* wire/tenant.c, and what wire/dispatch.c does with calls that one lane only can take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"
#include "wire/tenant.h"

enum { ME = 7, CALLS = 12, LANES = 3, TENANTS = 3 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me;
    struct pc_call calls[CALLS];
    struct fake_lane lanes[LANES];
    struct pc_tenant tenants[TENANTS];
    struct pc_lane *lane; /* of the last call that went out */
};

static struct room *enter(unsigned depth, unsigned lanes) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    assert_true(pc_dispatch_init(&r->d, depth, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_open(&r->lanes[i], &r->d, i);
    }
    return r;
}

static void leave(struct room *r, unsigned lanes) {
    for (unsigned i = 0; i < TENANTS; i++) {
        struct pc_tenant *t = &r->tenants[i];
        if (t->dispatch != NULL) {
            assert_false(pc_tenant_is_busy(t));
            assert_null(pc_tenant_end(t));
            if (t->lane != NULL) {
                fake_release(t->lane->channel);
            }
        }
    }
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_destroy(&r->lanes[i]);
    }
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    pc_dispatch_destroy(&r->d);
    free(r);
}

static struct pc_tenant *tenant(struct room *r, unsigned i, bool exclusive) {
    pc_tenant_init(&r->tenants[i], &r->d, i + 1, exclusive, fake_keep);
    return &r->tenants[i];
}

/* Call `i`, whose body is one byte, the number; at the moment i. */
static enum pc_submitted submit(struct room *r, uint8_t i, struct pc_lane *target, struct pc_tenant *t) {
    struct pc_body body = {.data = &i, .n = 1, .owned = false};
    r->calls[i].target = target;
    r->calls[i].tenant = t;
    enum pc_submitted how = pc_dispatch_submit(&r->d, ME, &r->calls[i], &body, i, at, &r->lane);
    if (how == PC_SUBMIT_OUT) {
        fake_send(r->lane);
        return PC_SUBMIT_OUT;
    }
    return how == PC_SUBMIT_READY ? PC_SUBMIT_OUT : how;
}

static void send_call(struct room *r, uint8_t i, struct pc_lane *target, struct pc_tenant *t) {
    assert_int_equal(submit(r, i, target, t), PC_SUBMIT_OUT);
}

static void queue_call(struct room *r, uint8_t i, struct pc_lane *target, struct pc_tenant *t) {
    assert_int_equal(submit(r, i, target, t), PC_SUBMIT_QUEUED);
}

static void answer(struct room *r, uint8_t i) {
    bool left, known;
    struct pc_lane *lane = r->calls[i].lane;
    assert_int_equal(r->calls[i].state, PC_CALL_OUT);
    assert_ptr_equal(pc_lane_take(lane, r->calls[i].id, PC_MESSAGEPACK, 100, &left, &known), &r->calls[i]);
    assert_true(pc_lane_pin(lane, at));
    fake_send(lane);
}

static void expect_ended(const struct pc_call *list, const struct pc_call *only) {
    assert_ptr_equal(list, only);
    assert_null(list->next);
    assert_int_equal(list->state, PC_CALL_OVER);
    free(list->body.data);
}

static void leave_queue(struct room *r, uint8_t i) {
    assert_int_equal(fake_leave(&r->d, ME, &r->calls[i], false), PC_LEAVE_QUEUED);
    free(r->calls[i].body.data);
}

static size_t waiting(struct room *r) {
    struct pc_dispatch_counts n;
    pc_dispatch_count(&r->d, &n);
    return n.queued;
}

static unsigned taking_calls(struct room *r) {
    struct pc_dispatch_counts n;
    pc_dispatch_count(&r->d, &n);
    return n.lanes;
}

/* ---- Targets */

static void a_target_is_the_only_lane(void **state) {
    (void)state;
    struct room *r = enter(2, 2);
    struct pc_lane *lane = &r->lanes[1].lane;
    send_call(r, 0, lane, NULL);
    send_call(r, 1, lane, NULL);
    queue_call(r, 2, lane, NULL); /* though the other has nothing to do */
    assert_int_equal(waiting(r), 1);
    assert_false(pc_dispatch_waits(&r->d)); /* for any lane */
    for (uint8_t i = 0; i < 3; i++) {
        expect_call(&r->lanes[1], i + 1U, &i, 1);
        answer(r, i);
    }
    expect_nothing(&r->lanes[0]);
    assert_int_equal(waiting(r), 0);
    leave(r, 2);
}

/* Whoever has waited for longer, of both queues. */
static void neither_queue_overtakes_the_other(void **state) {
    (void)state;
    struct room *r = enter(1, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    send_call(r, 0, NULL, NULL);
    queue_call(r, 1, NULL, NULL);
    queue_call(r, 2, lane, NULL);
    queue_call(r, 3, lane, NULL);
    queue_call(r, 4, NULL, NULL);
    for (uint8_t i = 0; i < 5; i++) {
        expect_call(&r->lanes[0], i + 1U, &i, 1);
        answer(r, i);
    }
    leave(r, 1);
}

static void a_target_that_is_no_more(void **state) {
    (void)state;
    struct room *r = enter(1, 2);
    struct pc_lane *lane = &r->lanes[0].lane;
    send_call(r, 0, lane, NULL);
    queue_call(r, 1, lane, NULL);
    queue_call(r, 2, lane, NULL);
    leave_queue(r, 2);
    pc_lane_stop(lane);
    assert_int_equal(submit(r, 3, lane, NULL), PC_SUBMIT_GONE);
    answer(r, 0);
    assert_int_equal(r->calls[1].state, PC_CALL_QUEUED); /* it will not go out, nor elsewhere */
    expect_ended(pc_lane_take_own(lane), &r->calls[1]);
    assert_null(pc_lane_take_own(lane));
    (void)pc_dispatch_end(&r->d);
    assert_int_equal(submit(r, 3, lane, NULL), PC_SUBMIT_OVER);
    leave(r, 2);
}

/* A slot: the channel comes to its lane only for what concerns that. */
static void a_lane_that_is_lent_its_channel(void **state) {
    (void)state;
    struct room *r = enter(1, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    uint64_t last_id;
    const uint8_t note[] = {0, 0, 0, 1, 0x90};
    assert_true(pc_lane_pin(lane, at));
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_false(pc_lane_wants(lane));
    queue_call(r, 0, lane, NULL);
    assert_true(pc_lane_wants(lane));
    assert_true(pc_lane_open(lane, 5, true, 0, at));
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    expect_call(&r->lanes[0], 6, &(uint8_t){0}, 1);
    answer(r, 0);
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_false(pc_lane_nudge(lane, 0, at));
    /* A frame that is no call, too. */
    assert_true(pc_lane_append(lane, note, sizeof note, false));
    assert_true(pc_lane_wants(lane));
    expect_nothing(&r->lanes[0]);
    assert_true(pc_lane_open(lane, 6, true, 0, at));
    assert_false(pc_lane_wants(lane));
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    uint8_t got[sizeof note];
    read_exactly(r->lanes[0].peer, got, sizeof got);
    assert_memory_equal(got, note, sizeof note);
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_int_equal(last_id, 6);
    assert_false(pc_lane_open(lane, 6, true, 0, at)); /* nothing is wanted */
    assert_true(pc_lane_open(lane, 6, false, 0, at));
    pc_lane_unpin(lane, at);
    leave(r, 1);
}

static void calls_that_cannot_move_do_not_count_as_uneven(void **state) {
    (void)state;
    struct room *r = enter(4, 2);
    struct pc_lane *lane = &r->lanes[0].lane;
    struct pc_misplaced list[CALLS];
    size_t n;
    for (uint8_t i = 0; i < 3; i++) {
        send_call(r, i, lane, NULL);
    }
    assert_true(pc_dispatch_is_uneven(&r->d));
    assert_false(pc_dispatch_uneven(&r->d, 1000, list, CALLS, &n));
    assert_int_equal(n, 0);
    for (uint8_t i = 3; i < 5; i++) { /* one for each lane: the other has less to do */
        send_call(r, i, NULL, NULL);
    }
    for (uint8_t i = 5; i < 8; i++) {
        send_call(r, i, NULL, NULL);
    }
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].lane != lane) {
            answer(r, i);
        }
    }
    bool moves = pc_dispatch_uneven(&r->d, 1000, list, CALLS, &n);
    for (size_t i = 0; i < n; i++) {
        assert_true(list[i].id > 3); /* those that are targeted came first */
    }
    assert_int_equal(moves, n > 0);
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].lane == lane) {
            answer(r, i);
        }
    }
    leave(r, 2);
}

/* ---- Tenants */

static void tenants_share_a_lane_with_others(void **state) {
    (void)state;
    struct room *r = enter(2, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    struct pc_tenant *a = tenant(r, 0, false), *b = tenant(r, 1, false);
    assert_true(pc_tenant_share(a, lane));
    assert_false(pc_tenant_share(a, lane)); /* once */
    assert_true(pc_tenant_share(b, lane));
    assert_ptr_equal(pc_tenant_lane(a), lane);
    assert_int_equal(taking_calls(r), 1);
    send_call(r, 0, lane, a);
    send_call(r, 1, NULL, NULL);
    queue_call(r, 2, lane, a);
    queue_call(r, 3, lane, b);
    queue_call(r, 4, lane, a);
    assert_true(pc_tenant_is_busy(a));
    /* The end of one: its calls that wait, and no others. */
    struct pc_call *list = pc_tenant_end(a);
    assert_ptr_equal(list, &r->calls[2]);
    assert_ptr_equal(list->next, &r->calls[4]);
    assert_null(list->next->next);
    free(r->calls[2].body.data);
    free(r->calls[4].body.data);
    assert_int_equal(submit(r, 5, lane, a), PC_SUBMIT_GONE);
    assert_true(pc_tenant_is_busy(a)); /* one is out */
    answer(r, 0);
    assert_false(pc_tenant_is_busy(a));
    assert_int_equal(r->calls[3].state, PC_CALL_OUT);
    answer(r, 1);
    answer(r, 3);
    assert_false(pc_tenant_is_busy(b));
    leave(r, 1);
}

static void a_lane_to_oneself(void **state) {
    (void)state;
    struct room *r = enter(2, 2);
    struct pc_tenant *mine = tenant(r, 0, true), *late = tenant(r, 1, true), *guest = tenant(r, 2, false);
    send_call(r, 0, NULL, mine);
    struct pc_lane *lane = pc_tenant_lane(mine), *other = &r->lanes[lane == &r->lanes[0].lane].lane;
    assert_ptr_equal(lane, r->calls[0].lane);
    assert_int_equal(taking_calls(r), 1);
    assert_false(pc_tenant_share(guest, lane));
    assert_true(pc_tenant_share(guest, other));
    /* Others do not get in, though it has room; its own do. */
    send_call(r, 1, NULL, NULL);
    send_call(r, 2, NULL, NULL);
    assert_ptr_equal(r->calls[2].lane, other);
    queue_call(r, 3, NULL, NULL);
    send_call(r, 4, lane, mine);
    /* No lane is left to be reserved: the other has a tenant. */
    queue_call(r, 5, NULL, late);
    answer(r, 1);
    answer(r, 2);
    answer(r, 3);
    assert_int_equal(r->calls[5].state, PC_CALL_QUEUED);
    assert_true(pc_dispatch_reserves(&r->d));
    /* When the first one ends, others and the next come in, in their order: it has nothing else to do then. */
    answer(r, 0);
    answer(r, 4);
    assert_null(pc_tenant_end(mine));
    assert_true(pc_lane_nudge(lane, 0, at));
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    pc_lane_unpin(lane, at);
    assert_ptr_equal(pc_tenant_lane(late), lane);
    answer(r, 5);
    leave(r, 2);
}

/* Calls for any lane do not keep a busy lane from being reserved: it gets no more until it has done what it has. */
static void a_lane_is_kept_clear(void **state) {
    (void)state;
    struct room *r = enter(2, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    struct pc_tenant *t = tenant(r, 0, true);
    send_call(r, 0, NULL, NULL);
    queue_call(r, 1, NULL, t);
    queue_call(r, 2, NULL, NULL); /* there would be room */
    answer(r, 0);
    assert_ptr_equal(pc_tenant_lane(t), lane);
    assert_int_equal(r->calls[1].state, PC_CALL_OUT);
    assert_int_equal(r->calls[2].state, PC_CALL_QUEUED);
    answer(r, 1);
    assert_null(pc_tenant_end(t));
    assert_true(pc_lane_nudge(lane, 0, at));
    assert_int_equal(pc_lane_flush(lane, false), PC_IO_DONE);
    pc_lane_unpin(lane, at);
    answer(r, 2);
    leave(r, 1);
}

static void expect_sent_when_settled(struct room *r, uint8_t i, const struct pc_lane *lane) {
    assert_int_equal(r->calls[i].state, PC_CALL_QUEUED);
    assert_true(pc_dispatch_is_unsettled(&r->d));
    struct pc_lane *sent = pc_dispatch_settle(&r->d, 0, at);
    assert_ptr_equal(sent, lane);
    fake_send(sent);
    assert_int_equal(r->calls[i].state, PC_CALL_OUT);
    assert_null(pc_dispatch_settle(&r->d, 0, at));
    assert_false(pc_dispatch_is_unsettled(&r->d));
}

/* Nor are they kept from it for longer: not when who was to have it leaves, nor when its session ends, nor when it has another one. */
static void nobody_is_kept_from_a_lane_for_nothing(void **state) {
    (void)state;
    struct room *r = enter(8, 2);
    struct pc_tenant *a = tenant(r, 0, true), *b = tenant(r, 1, true), *c = tenant(r, 2, true);
    send_call(r, 0, NULL, NULL);
    send_call(r, 1, NULL, NULL);
    struct pc_lane *first = r->calls[0].lane, *second = r->calls[1].lane;
    assert_ptr_not_equal(first, second);
    queue_call(r, 2, NULL, a);
    queue_call(r, 3, NULL, NULL);
    leave_queue(r, 2);
    expect_sent_when_settled(r, 3, r->d.by_load[1]);
    answer(r, 3);
    queue_call(r, 4, NULL, b);
    queue_call(r, 5, NULL, NULL);
    expect_ended(pc_tenant_end(b), &r->calls[4]);
    expect_sent_when_settled(r, 5, r->d.by_load[1]);
    answer(r, 5);
    queue_call(r, 6, NULL, c);
    queue_call(r, 7, NULL, NULL);
    answer(r, 1);
    assert_ptr_equal(pc_tenant_lane(c), second);
    expect_sent_when_settled(r, 7, first);
    answer(r, 0);
    answer(r, 7);
    answer(r, 6);
    leave(r, 2);
}

/* Whoever waits for a lane of its own gives up, or is told that there will be none. */
static void waiting_for_a_lane_to_oneself(void **state) {
    (void)state;
    struct room *r = enter(1, 1);
    struct pc_tenant *a = tenant(r, 0, true), *b = tenant(r, 1, true), *c = tenant(r, 2, true);
    send_call(r, 0, NULL, NULL);
    queue_call(r, 1, NULL, a);
    queue_call(r, 2, NULL, b);
    queue_call(r, 3, NULL, c);
    leave_queue(r, 1);
    expect_ended(pc_tenant_end(b), &r->calls[2]);
    assert_int_equal(submit(r, 4, NULL, b), PC_SUBMIT_GONE);
    expect_ended(pc_dispatch_end(&r->d), &r->calls[3]);
    answer(r, 0);
    assert_null(pc_tenant_lane(a));
    leave(r, 1);
}

/* A worker that is to leave stays for those who can go nowhere else. */
static void a_lane_that_retires(void **state) {
    (void)state;
    struct room *r = enter(4, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    struct pc_tenant *t = tenant(r, 0, false), *u = tenant(r, 1, false);
    uint64_t ids[CALLS];
    assert_true(pc_tenant_share(t, lane));
    send_call(r, 0, NULL, NULL);
    send_call(r, 1, NULL, NULL);
    send_call(r, 2, lane, t);
    send_call(r, 3, NULL, NULL);
    assert_int_equal(pc_lane_retire(lane, ids, CALLS), 2);
    assert_true(ids[0] == r->calls[3].id && ids[1] == r->calls[1].id);
    assert_int_equal(taking_calls(r), 0);
    assert_false(pc_tenant_share(u, lane));
    queue_call(r, 4, NULL, NULL);
    for (uint8_t i = 0; i < 4; i++) {
        answer(r, i);
    }
    assert_int_equal(r->calls[4].state, PC_CALL_QUEUED);
    send_call(r, 5, lane, t);
    answer(r, 5);
    assert_null(pc_tenant_end(t));
    assert_int_equal(taking_calls(r), 0); /* it is not for others now */
    leave_queue(r, 4);
    leave(r, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_the_only_lane),
        cmocka_unit_test(neither_queue_overtakes_the_other),
        cmocka_unit_test(a_target_that_is_no_more),
        cmocka_unit_test(a_lane_that_is_lent_its_channel),
        cmocka_unit_test(calls_that_cannot_move_do_not_count_as_uneven),
        cmocka_unit_test(tenants_share_a_lane_with_others),
        cmocka_unit_test(a_lane_to_oneself),
        cmocka_unit_test(a_lane_is_kept_clear),
        cmocka_unit_test(nobody_is_kept_from_a_lane_for_nothing),
        cmocka_unit_test(waiting_for_a_lane_to_oneself),
        cmocka_unit_test(a_lane_that_retires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
