/* wire/dispatch.c: which call is in which lane and which ones wait, who makes them, and what happens when memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_lanes.h"

enum { ME = 7, OTHER = 8, CALLS = 10, LANES = 3 };

struct room {
    struct pc_dispatch d;
    struct pc_owner me, other;
    struct pc_call calls[CALLS];
    struct fake_lane lanes[LANES];
    struct pc_lane *lane; /* of the last call that went out */
};

static int set_up(void **state) {
    struct room *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->me.key = ME;
    r->other.key = OTHER;
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    free(*state);
    return 0;
}

/* A room of so many lanes. */
static struct room *enter(void **state, unsigned depth, unsigned lanes) {
    struct room *r = *state;
    assert_true(pc_dispatch_init(&r->d, depth, 1, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    assert_null(pc_dispatch_meet(&r->d, &r->other));
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_open(&r->lanes[i], &r->d, i);
    }
    return r;
}

static void leave(struct room *r, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_destroy(&r->lanes[i]);
    }
    assert_ptr_equal(pc_dispatch_part(&r->d, ME), &r->me);
    assert_null(pc_dispatch_part(&r->d, ME));
    assert_ptr_equal(pc_dispatch_part_any(&r->d), &r->other);
    assert_null(pc_dispatch_part_any(&r->d));
    pc_dispatch_destroy(&r->d);
}

/* Call `i`, whose body is one byte, the number. */
static enum pc_submitted try_submit(struct room *r, uint64_t owner, uint8_t i, int64_t now) {
    struct pc_body body = {.data = &i, .n = 1, .owned = false};
    return pc_dispatch_submit(&r->d, owner, &r->calls[i], &body, now, at, &r->lane);
}

/* One that goes out, and is sent. */
static void send_call(struct room *r, uint8_t i, int64_t now) {
    enum pc_submitted how = try_submit(r, ME, i, now);
    if (how == PC_SUBMIT_OUT) {
        fake_send(r->lane);
    } else {
        assert_int_equal(how, PC_SUBMIT_READY);
    }
    assert_int_equal(r->calls[i].state, PC_CALL_OUT);
}

static void queue_call(struct room *r, uint8_t i) { assert_int_equal(try_submit(r, ME, i, 0), PC_SUBMIT_QUEUED); }

/* A body that its call waited with. */
static void drop_body(const struct pc_call *call) {
    assert_true(call->body.owned);
    free(call->body.data);
}

/* Call `i` is answered. */
static void answer(struct room *r, uint8_t i, int64_t now) {
    bool left, known;
    struct pc_lane *lane = r->calls[i].lane;
    assert_ptr_equal(pc_lane_take(lane, r->calls[i].id, PC_MESSAGEPACK, now, &left, &known), &r->calls[i]);
    assert_true(known && !left);
    assert_int_equal(r->calls[i].state, PC_CALL_OVER);
    assert_true(pc_lane_pin(lane, at));
    fake_send(lane);
}

static void expect_counts(struct room *r, unsigned lanes, unsigned idle, size_t out, size_t queued) {
    struct pc_dispatch_counts n;
    pc_dispatch_count(&r->d, &n);
    assert_int_equal(n.lanes, lanes);
    assert_int_equal(n.idle, idle);
    assert_int_equal(n.out, out);
    assert_int_equal(n.queued, queued);
    assert_int_equal(pc_dispatch_waits(&r->d), queued > 0);
}

/* ---- Out, queued, in order */

static void first_come_first_served(void **state) {
    struct room *r = enter(state, 2, 1);
    send_call(r, 0, 10);
    send_call(r, 1, 20);
    for (uint8_t i = 2; i < 6; i++) {
        queue_call(r, i);
    }
    expect_counts(r, 1, 0, 2, 4);
    for (uint8_t i = 0; i < 6; i++) {
        expect_call(&r->lanes[0], i + 1U, &i, 1);
        answer(r, i, 100 + i);
    }
    expect_nothing(&r->lanes[0]);
    assert_int_equal(r->calls[1].sent, 20);
    assert_int_equal(r->calls[2].sent, 100); /* when the first was answered */
    assert_int_equal(r->calls[5].sent, 103);
    assert_int_equal(r->calls[5].bytes, PC_FRAME_HEADER + 4);
    struct pc_lane_counts n = {.load = 0};
    pc_lane_count(&r->lanes[0].lane, &n);
    assert_int_equal(n.calls, 6);
    assert_int_equal(n.bytes_out, 6 * (PC_FRAME_HEADER + 4));
    expect_counts(r, 1, 1, 0, 0);
    leave(r, 1);
}

static void the_lane_with_the_least_to_do(void **state) {
    struct room *r = enter(state, 3, 3);
    for (uint8_t i = 0; i < 9; i++) {
        send_call(r, i, 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        struct pc_lane_counts n = {.load = 0};
        pc_lane_count(&r->lanes[i].lane, &n);
        assert_int_equal(n.load, 3);
        assert_int_equal(n.first, 1);
    }
    answer(r, 4, 0);
    const struct pc_lane *roomy = r->calls[4].lane;
    send_call(r, 9, 0);
    assert_ptr_equal(r->calls[9].lane, roomy);
    for (uint8_t i = 0; i < 10; i++) {
        if (i != 4) {
            answer(r, i, 0);
        }
    }
    expect_counts(r, 3, 3, 0, 0);
    leave(r, 3);
}

/* A worker that has two calls gets no more before its reader sends them. */
static void a_busy_worker_is_sent_more_by_its_reader(void **state) {
    struct room *r = enter(state, 8, 1);
    for (uint8_t i = 0; i < 5; i++) {
        send_call(r, i, 0);
    }
    for (uint8_t i = 0; i < 2; i++) {
        expect_call(&r->lanes[0], i + 1U, &i, 1);
    }
    expect_nothing(&r->lanes[0]);
    answer(r, 0, 0);
    for (uint8_t i = 2; i < 5; i++) {
        expect_call(&r->lanes[0], i + 1U, &i, 1);
    }
    for (uint8_t i = 1; i < 5; i++) {
        answer(r, i, 0);
    }
    leave(r, 1);
}

static void a_new_lane_takes_from_the_queue(void **state) {
    struct room *r = enter(state, 2, 0);
    for (uint8_t i = 0; i < 3; i++) {
        queue_call(r, i);
    }
    fake_lane_open(&r->lanes[0], &r->d, 4);
    expect_counts(r, 1, 0, 2, 1);
    for (uint8_t i = 0; i < 2; i++) {
        expect_call(&r->lanes[0], i + 1U, &i, 1);
    }
    fake_lane_open(&r->lanes[1], &r->d, 5);
    expect_counts(r, 2, 0, 3, 0);
    assert_ptr_equal(r->calls[2].lane, &r->lanes[1].lane);
    assert_int_equal(r->calls[2].lane->index, 5);
    for (uint8_t i = 0; i < 3; i++) {
        answer(r, i, 0);
    }
    leave(r, 2);
}

static void by_id_and_format(void **state) {
    struct room *r = enter(state, 4, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    bool left, known;
    r->calls[1].json = true;
    for (uint8_t i = 0; i < 3; i++) {
        send_call(r, i, 0);
    }
    assert_null(pc_lane_take(lane, 4, PC_MESSAGEPACK, 0, &left, &known)); /* never was */
    assert_false(known);
    assert_null(pc_lane_take(lane, 2, PC_MESSAGEPACK, 0, &left, &known)); /* went out as JSON */
    assert_false(known);
    assert_null(pc_lane_take(lane, 1, PC_JSON, 0, &left, &known));
    assert_false(known);
    expect_counts(r, 1, 0, 3, 0);
    assert_ptr_equal(pc_lane_take(lane, 2, PC_JSON, 0, &left, &known), &r->calls[1]); /* from the middle */
    assert_true(known && !left);
    assert_null(pc_lane_take(lane, 2, PC_JSON, 0, &left, &known)); /* is gone */
    assert_true(known);
    assert_ptr_equal(pc_lane_take(lane, 3, PC_ANY_FORMAT, 0, &left, &known), &r->calls[2]);
    assert_ptr_equal(pc_lane_take(lane, 1, PC_ANY_FORMAT, 0, &left, &known), &r->calls[0]);
    struct pc_lane_counts n = {.load = 0};
    pc_lane_count(lane, &n);
    assert_int_equal(n.calls, 1); /* what was dropped was none */
    leave(r, 1);
}

/* ---- Leaving */

static enum pc_leaving leave_call(struct room *r, uint8_t i, bool only_queued) {
    return fake_leave(&r->d, ME, &r->calls[i], only_queued);
}

static void leaving_in_each_state(void **state) {
    struct room *r = enter(state, 2, 1);
    bool left, known;
    send_call(r, 0, 0);
    send_call(r, 1, 0);
    for (uint8_t i = 2; i < 5; i++) {
        queue_call(r, i);
    }
    assert_int_equal(leave_call(r, 3, true), PC_LEAVE_QUEUED); /* from the middle */
    assert_int_equal(r->calls[3].state, PC_CALL_OVER);
    assert_int_equal(leave_call(r, 3, false), PC_LEAVE_NONE);
    assert_int_equal(leave_call(r, 1, true), PC_LEAVE_OUT);
    assert_int_equal(r->calls[1].state, PC_CALL_OUT);
    assert_int_equal(leave_call(r, 1, false), PC_LEAVE_OUT);
    assert_int_equal(r->calls[1].state, PC_CALL_LEFT);
    assert_int_equal(leave_call(r, 1, false), PC_LEAVE_NONE); /* once */
    expect_counts(r, 1, 0, 2, 2);                             /* it holds its place */
    answer(r, 0, 0);
    assert_int_equal(leave_call(r, 0, false), PC_LEAVE_NONE);
    assert_int_equal(r->calls[2].state, PC_CALL_OUT);
    assert_ptr_equal(pc_lane_take(&r->lanes[0].lane, 2, PC_MESSAGEPACK, 0, &left, &known), &r->calls[1]);
    assert_true(left);
    answer(r, 2, 0);
    answer(r, 4, 0);
    drop_body(&r->calls[3]);
    leave(r, 1);
}

/* Everything of somebody who is dead, and nothing of others. */
static void an_owner_dies(void **state) {
    struct room *r = enter(state, 2, 1);
    struct pc_call *found;
    struct pc_lane *lane;
    uint64_t id;
    bool goes_on, left, known;
    int out = 0, queued = 0, going_on = 0;
    r->calls[1].finish = true;
    send_call(r, 0, 0);
    send_call(r, 1, 0);
    queue_call(r, 2);
    assert_int_equal(try_submit(r, OTHER, 3, 0), PC_SUBMIT_QUEUED);
    enum pc_leaving how;
    while ((how = pc_dispatch_leave(&r->d, ME, NULL, NULL, false, at, &found, &lane, &id, &goes_on)) != PC_LEAVE_NONE) {
        if (how == PC_LEAVE_OUT) {
            assert_ptr_equal(lane, &r->lanes[0].lane);
            assert_int_equal(id, found->id);
            going_on += goes_on;
            pc_lane_unpin(lane, at);
            out++;
        } else {
            assert_ptr_equal(found, &r->calls[2]);
            drop_body(found);
            queued++;
        }
    }
    assert_true(out == 2 && queued == 1 && going_on == 1);
    expect_counts(r, 1, 0, 2, 1);
    for (uint8_t i = 0; i < 2; i++) {
        assert_non_null(pc_lane_take(&r->lanes[0].lane, i + 1U, PC_MESSAGEPACK, 0, &left, &known));
        assert_true(left);
    }
    fake_lane_flush(&r->lanes[0]);
    answer(r, 3, 0);
    leave(r, 1);
}

/* A worker that holds one call is replaced when nobody waits for that, so it gets no other. */
static void a_lane_of_one_call_stops_when_it_is_left(void **state) {
    struct room *r = enter(state, 1, 1);
    bool left, known;
    send_call(r, 0, 0);
    queue_call(r, 1);
    assert_int_equal(leave_call(r, 0, false), PC_LEAVE_OUT);
    assert_non_null(pc_lane_take(&r->lanes[0].lane, 1, PC_MESSAGEPACK, 0, &left, &known));
    expect_counts(r, 0, 0, 0, 1);
    assert_int_equal(leave_call(r, 1, false), PC_LEAVE_QUEUED);
    drop_body(&r->calls[1]);
    leave(r, 1);
}

static void the_dispatcher_ends(void **state) {
    struct room *r = enter(state, 1, 1);
    send_call(r, 0, 0);
    queue_call(r, 1);
    queue_call(r, 2);
    struct pc_call *queue = pc_dispatch_end(&r->d);
    assert_ptr_equal(queue, &r->calls[1]);
    assert_ptr_equal(queue->next, &r->calls[2]);
    assert_null(queue->next->next);
    assert_int_equal(r->calls[2].state, PC_CALL_OVER);
    assert_int_equal(leave_call(r, 1, false), PC_LEAVE_NONE);
    assert_int_equal(try_submit(r, ME, 3, 0), PC_SUBMIT_OVER);
    assert_int_equal(try_submit(r, 99, 3, 0), PC_SUBMIT_OVER);
    answer(r, 0, 0); /* what is out goes on */
    fake_lane_init(&r->lanes[1], &r->d, 1);
    assert_false(pc_lane_open(&r->lanes[1].lane, 0, false, 0, at));
    assert_null(pc_dispatch_end(&r->d));
    drop_body(&r->calls[1]);
    drop_body(&r->calls[2]);
    close(r->lanes[1].lane.fd);
    close(r->lanes[1].peer);
    leave(r, 1);
}

/* A dead worker's: those it had not started, and then the rest, which somebody may have left. */
static void what_a_dead_worker_had(void **state) {
    struct room *r = enter(state, 4, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    for (uint8_t i = 0; i < 4; i++) {
        send_call(r, i, 0);
    }
    queue_call(r, 4);
    assert_int_equal(leave_call(r, 3, false), PC_LEAVE_OUT);
    assert_false(pc_lane_stop_at(lane, 2));
    assert_true(pc_lane_stop_at(lane, 1));
    struct pc_call *unstarted = pc_lane_take_after(lane, 2);
    assert_ptr_equal(unstarted, &r->calls[2]);
    assert_ptr_equal(unstarted->next, &r->calls[3]);
    assert_null(unstarted->next->next);
    assert_int_equal(r->calls[3].state, PC_CALL_LEFT);
    assert_int_equal(leave_call(r, 2, false), PC_LEAVE_NONE);
    struct pc_call *rest = pc_lane_take_after(lane, 0);
    assert_ptr_equal(rest, &r->calls[0]);
    assert_ptr_equal(rest->next, &r->calls[1]);
    assert_null(pc_lane_take_after(lane, 0));
    expect_counts(r, 0, 0, 0, 1); /* the queue waits for another lane */
    fake_lane_open(&r->lanes[1], &r->d, 0);
    answer(r, 4, 0);
    leave(r, 2);
}

/* ---- Owners */

static void strangers_and_the_forgotten(void **state) {
    struct room *r = enter(state, 2, 1);
    static struct pc_owner owners[PC_MOST_OWNERS];
    assert_int_equal(try_submit(r, 99, 0, 0), PC_SUBMIT_STRANGER);
    send_call(r, 0, 0);
    assert_int_equal(try_submit(r, OTHER, 1, 0), PC_SUBMIT_OUT);
    pc_lane_unpin(r->lane, at);
    int met = 0;
    for (int i = 0; i < PC_MOST_OWNERS - 2; i++) {
        owners[met] = (struct pc_owner){.key = UINT64_C(1000) + (uint64_t)i * 16};
        assert_null(pc_dispatch_meet(&r->d, &owners[met++]));
    }
    /* From here on somebody goes for each that comes, but never one who has calls. */
    int forgotten = 0;
    for (int i = 0; i < 4 * PC_OWNER_BUCKETS; i++) {
        static struct pc_owner more[4 * PC_OWNER_BUCKETS];
        more[i] = (struct pc_owner){.key = UINT64_C(1000000) + (uint64_t)i};
        const struct pc_owner *gone = pc_dispatch_meet(&r->d, &more[i]);
        assert_true(gone != &r->me && gone != &r->other);
        forgotten += gone != NULL;
    }
    assert_true(forgotten > 2 * PC_OWNER_BUCKETS);
    answer(r, 0, 0);
    answer(r, 1, 0);
    while (pc_dispatch_part_any(&r->d) != NULL) {}
    assert_int_equal(try_submit(r, ME, 2, 0), PC_SUBMIT_STRANGER);
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    assert_null(pc_dispatch_meet(&r->d, &r->other));
    leave(r, 1);
}

/* ---- Balance */

static void calls_behind_a_long_one(void **state) {
    struct room *r = enter(state, 4, 2);
    struct pc_misplaced list[CALLS];
    size_t n;
    for (uint8_t i = 0; i < 8; i++) {
        send_call(r, i, 100);
    }
    assert_false(pc_dispatch_is_uneven(&r->d)); /* nobody is idle */
    const struct pc_lane *busy = r->calls[0].lane;
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].lane != busy) {
            answer(r, i, 200);
        }
    }
    assert_true(pc_dispatch_is_uneven(&r->d));
    assert_false(pc_dispatch_is_uneven(&r->d)); /* told once */
    assert_true(pc_dispatch_uneven(&r->d, 99, list, CALLS, &n));
    assert_int_equal(n, 0); /* it is too early */
    assert_true(pc_dispatch_uneven(&r->d, 100, list, 2, &n));
    assert_int_equal(n, 2);
    assert_true(pc_dispatch_uneven(&r->d, 100, list, CALLS, &n));
    assert_int_equal(n, 3); /* not the first */
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].index, busy->index);
        assert_int_equal(list[i].id, 4 - i); /* the last first */
    }
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].lane == busy) {
            answer(r, i, 300 + i);
        }
    }
    assert_false(pc_dispatch_uneven(&r->d, 1000, list, CALLS, &n));
    assert_int_equal(n, 0);
    leave(r, 2);
}

/* The age is that of the call in front, from when it came to be there. */
static void the_age_begins_anew_with_each_call(void **state) {
    struct room *r = enter(state, 3, 1);
    struct pc_misplaced list[CALLS];
    size_t n;
    for (uint8_t i = 0; i < 3; i++) {
        send_call(r, i, 100);
    }
    fake_lane_open(&r->lanes[1], &r->d, 1);
    answer(r, 0, 200);
    assert_true(pc_dispatch_uneven(&r->d, 199, list, CALLS, &n));
    assert_int_equal(n, 0);
    assert_true(pc_dispatch_uneven(&r->d, 200, list, CALLS, &n));
    assert_int_equal(n, 1);
    answer(r, 1, 300);
    assert_false(pc_dispatch_uneven(&r->d, 400, list, CALLS, &n)); /* one call waits behind nobody */
    answer(r, 2, 400);
    leave(r, 2);
}

/* ---- How many may wait, who wants to know, whose turn it is */

static void so_many_wait_and_no_more(void **state) {
    struct room *r = enter(state, 1, 1);
    pc_dispatch_limit(&r->d, 2);
    send_call(r, 0, 10);
    assert_int_equal(try_submit(r, ME, 1, 20), PC_SUBMIT_QUEUED);
    queue_call(r, 2);
    assert_int_equal(try_submit(r, ME, 3, 0), PC_SUBMIT_FULL);
    expect_counts(r, 1, 0, 1, 2);
    struct pc_dispatch_counts n;
    pc_dispatch_count(&r->d, &n);
    assert_int_equal(n.first_queued, 20);
    answer(r, 0, 30);
    queue_call(r, 3);
    for (uint8_t i = 1; i < 4; i++) {
        answer(r, i, 40);
    }
    pc_dispatch_limit(&r->d, 0);
    send_call(r, 4, 50); /* does not wait */
    assert_int_equal(try_submit(r, ME, 5, 0), PC_SUBMIT_FULL);
    answer(r, 4, 60);
    leave(r, 1);
}

static void one_busy_moment_is_told_once(void **state) {
    struct room *r = enter(state, 2, 1);
    send_call(r, 0, 0);
    send_call(r, 1, 0);
    assert_false(pc_dispatch_wants(&r->d)); /* nobody asked */
    answer(r, 1, 0);
    answer(r, 0, 0);
    pc_dispatch_watch(&r->d);
    send_call(r, 2, 0);
    assert_false(pc_dispatch_wants(&r->d)); /* to a worker that had nothing to do */
    send_call(r, 3, 0);
    assert_true(pc_dispatch_wants(&r->d));
    queue_call(r, 4);
    assert_false(pc_dispatch_wants(&r->d));
    pc_dispatch_watch(&r->d);
    queue_call(r, 5);
    assert_true(pc_dispatch_wants(&r->d));
    for (uint8_t i = 2; i < 6; i++) {
        answer(r, i, 0);
    }
    leave(r, 1);
}

static void lanes_take_turns_or_the_latest_goes_first(void **state) {
    for (int fair = 0; fair < 2; fair++) {
        struct room *r = enter(state, 2, 0);
        pc_dispatch_destroy(&r->d);
        assert_true(pc_dispatch_init(&r->d, 2, 1, fair == 1));
        assert_null(pc_dispatch_meet(&r->d, &r->me));
        assert_null(pc_dispatch_meet(&r->d, &r->other));
        for (unsigned i = 0; i < LANES; i++) {
            fake_lane_open(&r->lanes[i], &r->d, i);
        }
        for (uint8_t i = 0; i < 2 * LANES; i++) {
            send_call(r, i, 0);
            assert_int_equal(r->calls[i].lane->index, fair == 1 ? i % LANES : LANES - 1);
            answer(r, i, 0);
        }
        leave(r, LANES);
    }
}

/* ---- No more calls, and word of the last one */

static void a_lane_is_drained(void **state) {
    struct room *r = enter(state, 2, 2);
    for (uint8_t i = 0; i < 4; i++) {
        send_call(r, i, 0);
    }
    struct pc_lane *lane = r->calls[0].lane;
    uint8_t other = r->calls[1].lane == lane ? 1 : r->calls[2].lane == lane ? 2 : 3;
    assert_int_equal(pc_lane_drain(lane), PC_LANE_BUSY);
    assert_true(pc_lane_is_draining(lane));
    queue_call(r, 4);
    answer(r, 0, 0);
    assert_false(pc_lane_is_drained(lane));
    assert_int_equal(r->calls[4].state, PC_CALL_QUEUED); /* not to this one */
    answer(r, other, 0);
    assert_true(pc_lane_is_drained(lane));
    assert_false(pc_lane_is_drained(lane));
    assert_int_equal(pc_lane_drain(lane), PC_LANE_IDLE);
    for (uint8_t i = 1; i < 4; i++) {
        if (i != other) {
            answer(r, i, 0);
        }
    }
    answer(r, 4, 0);
    leave(r, 2);
}

static void a_lane_without_its_channel_is_never_lent_it_again(void **state) {
    struct room *r = enter(state, 1, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    uint64_t last_id;
    assert_true(pc_lane_pin(lane, at));
    assert_true(pc_lane_return(lane, at, &last_id));
    assert_int_equal(pc_lane_drain(lane), PC_LANE_AWAY);
    queue_call(r, 0);
    assert_false(pc_lane_open(lane, last_id, true, 0, at));
    struct pc_call *call = pc_dispatch_end(&r->d);
    assert_ptr_equal(call, &r->calls[0]);
    drop_body(call);
    fake_close(&r->lanes[0], NULL); /* it was not the lane's to close */
    leave(r, 1);
}

/* ---- Many calls at once */

/* A room whose workers run `width` calls at once. */
static struct room *enter_wide(void **state, unsigned depth, unsigned width, unsigned lanes) {
    struct room *r = *state;
    assert_true(pc_dispatch_init(&r->d, depth, width, false));
    assert_null(pc_dispatch_meet(&r->d, &r->me));
    assert_null(pc_dispatch_meet(&r->d, &r->other));
    for (unsigned i = 0; i < lanes; i++) {
        fake_lane_open(&r->lanes[i], &r->d, i);
    }
    return r;
}

/* What runs, and one more, is sent at once. */
static void a_wide_worker_is_sent_what_it_can_run(void **state) {
    struct room *r = enter_wide(state, 8, 4, 1);
    for (uint8_t i = 0; i < 7; i++) {
        enum pc_submitted how = try_submit(r, ME, i, 0);
        assert_int_equal(how, i < 5 ? PC_SUBMIT_OUT : PC_SUBMIT_READY);
        if (how == PC_SUBMIT_OUT) {
            assert_int_equal(pc_lane_flush(r->lane, false), PC_IO_DONE);
            pc_lane_unpin(r->lane, at);
        }
    }
    static const uint8_t order[] = {4, 6, 5, 3, 0, 2, 1}; /* the first answer lets the others go out */
    for (size_t i = 0; i < sizeof order; i++) {
        answer(r, order[i], 0);
    }
    expect_counts(r, 1, 1, 0, 0);
    leave(r, 1);
}

/* Only those behind the ones that run are misplaced. */
static void calls_behind_those_that_run(void **state) {
    struct room *r = enter_wide(state, 5, 3, 1);
    struct pc_misplaced list[CALLS];
    size_t n;
    for (uint8_t i = 0; i < 3; i++) {
        send_call(r, i, 100);
    }
    fake_lane_open(&r->lanes[1], &r->d, 1);
    assert_false(pc_dispatch_is_uneven(&r->d)); /* three run */
    for (uint8_t i = 3; i < 8; i++) {
        send_call(r, i, 100); /* until both hold four */
    }
    const struct pc_lane *busy = r->calls[0].lane;
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].lane != busy) {
            answer(r, i, 200);
        }
    }
    assert_true(pc_dispatch_is_uneven(&r->d));
    assert_true(pc_dispatch_uneven(&r->d, 100, list, CALLS, &n));
    assert_int_equal(n, 1);
    assert_int_equal(list[0].index, busy->index);
    assert_int_equal(list[0].id, 4);
    answer(r, 1, 300);
    assert_false(pc_dispatch_uneven(&r->d, 1000, list, CALLS, &n)); /* now three are there */
    for (uint8_t i = 0; i < 8; i++) {
        if (r->calls[i].state == PC_CALL_OUT) {
            answer(r, i, 400);
        }
    }
    leave(r, 2);
}

static void take_left(struct room *r, uint8_t i) {
    bool left, known;
    assert_ptr_equal(pc_lane_take(&r->lanes[0].lane, r->calls[i].id, PC_MESSAGEPACK, 0, &left, &known), &r->calls[i]);
    assert_true(left && known);
}

/* Its lane drains, without waiting for the call that does not end. */
static void a_call_that_is_stuck(void **state) {
    struct room *r = enter_wide(state, 4, 3, 1);
    struct pc_lane *lane = &r->lanes[0].lane;
    unsigned others = 99;
    for (uint8_t i = 0; i < 4; i++) {
        send_call(r, i, 0);
    }
    assert_false(pc_lane_give_up(lane, 1, &others)); /* somebody waits for it */
    assert_false(pc_lane_give_up(lane, 9, &others));
    for (uint8_t i = 0; i < 2; i++) {
        assert_int_equal(leave_call(r, i, false), PC_LEAVE_OUT);
    }
    assert_true(pc_lane_give_up(lane, 1, &others));
    assert_int_equal(others, 3);
    assert_true(pc_lane_give_up(lane, 1, &others)); /* still */
    assert_int_equal(others, 3);
    queue_call(r, 4);
    uint64_t ids[CALLS];
    assert_int_equal(pc_lane_list_after(lane, 2, ids, CALLS), 2);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 4);
    assert_int_equal(pc_lane_list_after(lane, 0, ids, 1), 1);
    struct pc_lane_counts n = {.last_started = 3};
    pc_lane_count(lane, &n);
    assert_int_equal(n.load, 4);
    assert_int_equal(n.started, 3);
    assert_true(pc_lane_give_up(lane, 2, &others));
    assert_int_equal(others, 2);
    answer(r, 2, 0);
    take_left(r, 1); /* it ends after all */
    assert_false(pc_lane_is_drained(lane));
    answer(r, 3, 0);
    assert_true(pc_lane_is_drained(lane)); /* but for the first */
    assert_false(pc_lane_is_drained(lane));
    assert_ptr_equal(pc_lane_take_after(lane, 0), &r->calls[0]);
    assert_int_equal(r->calls[0].state, PC_CALL_LEFT);
    fake_lane_open(&r->lanes[1], &r->d, 1);
    answer(r, 4, 0);
    leave(r, 2);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(first_come_first_served),
        TEST(the_lane_with_the_least_to_do),
        TEST(a_busy_worker_is_sent_more_by_its_reader),
        TEST(a_new_lane_takes_from_the_queue),
        TEST(by_id_and_format),
        TEST(leaving_in_each_state),
        TEST(an_owner_dies),
        TEST(a_lane_of_one_call_stops_when_it_is_left),
        TEST(the_dispatcher_ends),
        TEST(what_a_dead_worker_had),
        TEST(strangers_and_the_forgotten),
        TEST(calls_behind_a_long_one),
        TEST(the_age_begins_anew_with_each_call),
        TEST(a_wide_worker_is_sent_what_it_can_run),
        TEST(calls_behind_those_that_run),
        TEST(a_call_that_is_stuck),
        TEST(so_many_wait_and_no_more),
        TEST(one_busy_moment_is_told_once),
        TEST(lanes_take_turns_or_the_latest_goes_first),
        TEST(a_lane_is_drained),
        TEST(a_lane_without_its_channel_is_never_lent_it_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
