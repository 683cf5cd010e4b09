/* The channel's state machine: every row of docs/protocol.md, section 3, one step at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/machine.h"

/* What the machine did to the world, counted. */
struct world {
    struct pc_machine m;
    int handed_on, cut, lost, adopt, told, closed, withdrawn, withdrawn_open;
    bool told_inside;
};

static void hand_on(void *w, void *env) { (void)env, ((struct world *)w)->handed_on++; }
static void tell_owner(void *channel, void *env) {
    (void)env;
    struct world *w = channel;
    w->told++;
    w->told_inside = (pc_machine_word(&w->m) & PC_INSIDE) != 0;
}
static void close_it(void *w, void *env) { (void)env, ((struct world *)w)->closed++; }
static void tell_worker(void *channel, void *env, enum pc_why why) {
    (void)env;
    struct world *w = channel;
    *(why == PC_CUT ? &w->cut : why == PC_LOST ? &w->lost : &w->adopt) += 1;
}
static void withdraw(void *channel, void *env, bool open) {
    (void)env;
    struct world *w = channel;
    w->withdrawn++;
    w->withdrawn_open += open;
}

static const struct pc_machine_ops ops = {
    .hand_on = hand_on, .tell_worker = tell_worker, .tell_owner = tell_owner, .close = close_it};
static const struct pc_actor at = {.ops = &ops, .env = NULL};

/* A machine in the given phase, counts at zero. */
static struct world in(enum pc_phase phase) {
    struct world w = {0};
    pc_machine_init(&w.m, NULL);
    atomic_store(&w.m.word, (uint32_t)phase);
    return w;
}
#define BEGIN(phase)                                                                                                   \
    struct world w = in(phase);                                                                                        \
    w.m.channel = &w
#define NOTHING_ELSE(...)                                                                                              \
    do {                                                                                                               \
        struct world expected = {.m = w.m, __VA_ARGS__};                                                               \
        assert_int_equal(w.handed_on, expected.handed_on);                                                             \
        assert_int_equal(w.cut, expected.cut);                                                                         \
        assert_int_equal(w.lost, expected.lost);                                                                       \
        assert_int_equal(w.adopt, expected.adopt);                                                                     \
        assert_int_equal(w.told, expected.told);                                                                       \
        assert_int_equal(w.closed, expected.closed);                                                                   \
    } while (0)

static const enum pc_phase outstanding[] = {PC_WRITING, PC_WAITING, PC_READING};
#define EACH_OUTSTANDING(i) for (size_t i = 0; i < sizeof outstanding / sizeof outstanding[0]; i++)

static void install_hands_the_slot_on(void **state) {
    (void)state;
    BEGIN(PC_CONTROL);
    assert_int_equal(pc_machine_enter(&w.m, PC_CONTROL), PC_CONTROL);
    pc_machine_leave(&w.m, at, PC_FREE, false);
    NOTHING_ELSE(.handed_on = 1);
}

static void one_claim_of_two_wins(void **state) {
    (void)state;
    BEGIN(PC_FREE);
    assert_int_equal(pc_machine_enter(&w.m, PC_FREE), PC_FREE);
    assert_int_equal(pc_machine_enter(&w.m, PC_FREE), 0);
    pc_machine_leave(&w.m, at, PC_CLAIMED, false);
    assert_int_equal(pc_machine_enter(&w.m, PC_FREE), 0);
    NOTHING_ELSE(.handed_on = 0);
}

static void a_call_goes_round(void **state) {
    (void)state;
    BEGIN(PC_CLAIMED);
    assert_int_equal(pc_machine_enter(&w.m, PC_CLAIMED), PC_CLAIMED);
    pc_machine_leave(&w.m, at, PC_WAITING, false);
    assert_int_equal(pc_machine_enter(&w.m, PC_CLAIMED), 0); /* no second call */
    assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), PC_WAITING);
    pc_machine_leave(&w.m, at, PC_CLAIMED, false);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_OK);
    assert_int_equal(w.withdrawn, 1);
    NOTHING_ELSE(.handed_on = 1);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED); /* only once */
    NOTHING_ELSE(.handed_on = 1);
}

static void an_abandoned_call_is_cut(void **state) {
    (void)state;
    EACH_OUTSTANDING(i) {
        BEGIN(outstanding[i]);
        assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED);
        assert_int_equal(w.withdrawn_open, 1);
        NOTHING_ELSE(.cut = 1);
        pc_machine_verdict(&w.m, at); /* nobody is there to be told */
        pc_machine_close(&w.m, at);
        pc_machine_close(&w.m, at);
        NOTHING_ELSE(.cut = 1, .closed = 1);
    }
}

static void a_dead_caller_frees_a_clean_claim(void **state) {
    (void)state;
    BEGIN(PC_CLAIMED);
    pc_machine_owner_gone(&w.m, at);
    NOTHING_ELSE(.handed_on = 1);
    assert_int_equal(pc_machine_word(&w.m), PC_FREE);
}

static void a_dead_caller_cuts_its_call(void **state) {
    (void)state;
    EACH_OUTSTANDING(i) {
        BEGIN(outstanding[i]);
        pc_machine_owner_gone(&w.m, at);
        NOTHING_ELSE(.cut = 1);
        pc_machine_verdict(&w.m, at);
        NOTHING_ELSE(.cut = 1);
        assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    }
}

static void a_caller_that_dies_while_it_is_given_a_slot_does_not_keep_it(void **state) {
    (void)state;
    BEGIN(PC_FREE);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_FREE), 0);
    pc_machine_owner_gone(&w.m, at);
    pc_machine_leave(&w.m, at, PC_CLAIMED, false);
    NOTHING_ELSE(.handed_on = 1);
    assert_int_equal(pc_machine_word(&w.m), PC_FREE);
}

static void a_caller_that_dies_inside_is_dealt_with_on_leaving(void **state) {
    (void)state;
    BEGIN(PC_CLAIMED);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_CLAIMED), 0);
    pc_machine_owner_gone(&w.m, at);
    NOTHING_ELSE(.cut = 0);
    pc_machine_leave(&w.m, at, PC_WAITING, false);
    NOTHING_ELSE(.cut = 1);

    struct world v = in(PC_READING);
    v.m.channel = &v;
    assert_int_not_equal(pc_machine_enter(&v.m, PC_OUTSTANDING), 0);
    pc_machine_owner_gone(&v.m, at);
    pc_machine_leave(&v.m, at, PC_CLAIMED, false); /* the reply was whole after all: the slot is clean */
    assert_int_equal(v.handed_on, 1);
    assert_int_equal(v.cut, 0);
    assert_int_equal(pc_machine_word(&v.m), PC_FREE);
}

static void a_verdict_reaches_a_waiting_caller_once(void **state) {
    (void)state;
    EACH_OUTSTANDING(i) {
        BEGIN(outstanding[i]);
        pc_machine_verdict(&w.m, at);
        pc_machine_verdict(&w.m, at);
        pc_machine_close(&w.m, at);
        NOTHING_ELSE(.told = 1, .closed = 1);
        assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_VERDICT);
        assert_int_equal(w.withdrawn_open, 0); /* the descriptor may be another's by now */
        NOTHING_ELSE(.told = 1, .closed = 1);
    }
}

static void a_verdict_on_a_claim_without_a_call_is_silent(void **state) {
    (void)state;
    BEGIN(PC_CLAIMED);
    pc_machine_verdict(&w.m, at);
    assert_int_equal(pc_machine_enter(&w.m, PC_CLAIMED), 0);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED);
    NOTHING_ELSE(.told = 0);
}

static void a_verdict_while_inside_is_told_on_leaving(void **state) {
    (void)state;
    BEGIN(PC_WAITING);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_verdict(&w.m, at);
    pc_machine_close(&w.m, at);
    NOTHING_ELSE(.told = 0);
    pc_machine_leave(&w.m, at, PC_READING, false);
    NOTHING_ELSE(.told = 1, .closed = 1);
    assert_true(w.told_inside); /* a close from another thread could not come before that */
}

static void a_verdict_loses_against_a_whole_reply(void **state) {
    (void)state;
    BEGIN(PC_WAITING);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_verdict(&w.m, at);
    pc_machine_leave(&w.m, at, PC_CLAIMED, false);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED);
    NOTHING_ELSE(.told = 0);
}

static void a_lost_channel_waits_for_its_verdict(void **state) {
    (void)state;
    BEGIN(PC_WAITING);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_leave(&w.m, at, PC_WAITING, true);
    NOTHING_ELSE(.lost = 1);
    assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_verdict(&w.m, at);
    NOTHING_ELSE(.lost = 1, .told = 1);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_VERDICT);
    NOTHING_ELSE(.lost = 1, .told = 1);
}

static void a_condemned_slot_is_not_claimed(void **state) {
    (void)state;
    BEGIN(PC_FREE);
    pc_machine_verdict(&w.m, at);
    assert_int_equal(pc_machine_enter(&w.m, PC_FREE), 0);
    NOTHING_ELSE(.told = 0);
}

static void a_close_waits_for_whoever_is_inside(void **state) {
    (void)state;
    BEGIN(PC_CONTROL);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_CONTROL), 0);
    pc_machine_close(&w.m, at);
    NOTHING_ELSE(.closed = 0);
    pc_machine_leave(&w.m, at, PC_CONTROL, false);
    NOTHING_ELSE(.closed = 1);
    assert_int_equal(pc_machine_enter(&w.m, PC_CONTROL), 0);
}

/* A machine whose owner has left it with a whole call that is to go on. */
#define BEGIN_FINISH(phase)                                                                                            \
    BEGIN(phase);                                                                                                      \
    assert_int_not_equal(pc_machine_enter(&w.m, phase), 0);                                                            \
    pc_machine_leave(&w.m, at, (phase) | PC_FINISH, false)

static void a_call_that_is_to_go_on_is_adopted(void **state) {
    (void)state;
    EACH_OUTSTANDING(i) {
        BEGIN_FINISH(outstanding[i]);
        assert_int_equal(pc_machine_adopt(&w.m), 0); /* its owner lives */
        pc_machine_owner_gone(&w.m, at);
        NOTHING_ELSE(.adopt = 1);
        assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
        assert_int_equal(pc_machine_adopt(&w.m), outstanding[i]);
        assert_int_equal(pc_machine_adopt(&w.m), 0); /* once */
        pc_machine_leave(&w.m, at, outstanding[i], false);
        assert_int_equal(pc_machine_word(&w.m), outstanding[i]);
        assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), outstanding[i]);
        pc_machine_leave(&w.m, at, PC_CLAIMED, false);
        assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_OK);
        NOTHING_ELSE(.adopt = 1, .handed_on = 1);
        assert_int_equal(pc_machine_word(&w.m), PC_FREE);
    }
}

static void an_adopted_call_is_given_up_like_any(void **state) {
    (void)state;
    BEGIN_FINISH(PC_WAITING);
    pc_machine_owner_gone(&w.m, at);
    assert_int_not_equal(pc_machine_adopt(&w.m), 0);
    pc_machine_leave(&w.m, at, PC_WAITING, false);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED);
    assert_int_equal(w.withdrawn_open, 1);
    NOTHING_ELSE(.adopt = 1, .cut = 1);
}

static void a_call_that_is_to_go_on_is_cut_at_its_deadline(void **state) {
    (void)state;
    BEGIN_FINISH(PC_WAITING);
    assert_int_equal(pc_machine_end(&w.m, at, withdraw), PC_END_POISONED);
    pc_machine_owner_gone(&w.m, at);
    assert_int_equal(pc_machine_adopt(&w.m), 0);
    NOTHING_ELSE(.cut = 1);
}

/* Encoding or decoding goes on on a dirty scheduler, where it may enter for the dead. */
static void a_call_on_its_way_to_another_scheduler_is_cut(void **state) {
    (void)state;
    BEGIN_FINISH(PC_WAITING);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_leave(&w.m, at, PC_READING, false);
    pc_machine_owner_gone(&w.m, at);
    NOTHING_ELSE(.cut = 1);
    assert_int_equal(pc_machine_adopt(&w.m), 0);
    assert_int_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
}

static void a_caller_that_dies_inside_is_followed_on_leaving(void **state) {
    (void)state;
    BEGIN(PC_CLAIMED);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_CLAIMED), 0);
    pc_machine_owner_gone(&w.m, at);
    pc_machine_leave(&w.m, at, PC_WRITING | PC_FINISH, false);
    NOTHING_ELSE(.adopt = 1);
    assert_int_equal(pc_machine_adopt(&w.m), PC_WRITING);

    struct world v = in(PC_READING);
    v.m.channel = &v;
    assert_int_not_equal(pc_machine_enter(&v.m, PC_OUTSTANDING), 0);
    pc_machine_owner_gone(&v.m, at);
    assert_int_equal(pc_machine_adopt(&v.m), 0);   /* somebody is inside */
    pc_machine_leave(&v.m, at, PC_CLAIMED, false); /* the answer was whole: there is nothing left to adopt */
    assert_int_equal(v.handed_on, 1);
    assert_int_equal(v.adopt, 0);
    assert_int_equal(pc_machine_adopt(&v.m), 0);
}

static void a_broken_or_condemned_call_is_not_adopted(void **state) {
    (void)state;
    BEGIN(PC_WAITING);
    assert_int_not_equal(pc_machine_enter(&w.m, PC_OUTSTANDING), 0);
    pc_machine_leave(&w.m, at, PC_WAITING | PC_FINISH, true);
    pc_machine_owner_gone(&w.m, at);
    NOTHING_ELSE(.lost = 1, .cut = 1);
    assert_int_equal(pc_machine_adopt(&w.m), 0);

    struct world v = in(PC_WAITING);
    v.m.channel = &v;
    assert_int_not_equal(pc_machine_enter(&v.m, PC_OUTSTANDING), 0);
    pc_machine_leave(&v.m, at, PC_WAITING | PC_FINISH, false);
    pc_machine_owner_gone(&v.m, at);
    pc_machine_verdict(&v.m, at); /* between the news and the adoption */
    assert_int_equal(v.told, 0);
    assert_int_equal(pc_machine_adopt(&v.m), 0);
}

static void a_verdict_and_a_close_wait_for_the_adopter_inside(void **state) {
    (void)state;
    BEGIN_FINISH(PC_READING);
    pc_machine_owner_gone(&w.m, at);
    assert_int_not_equal(pc_machine_adopt(&w.m), 0);
    pc_machine_verdict(&w.m, at);
    pc_machine_close(&w.m, at);
    NOTHING_ELSE(.adopt = 1);
    pc_machine_leave(&w.m, at, PC_READING, false);
    NOTHING_ELSE(.adopt = 1, .told = 1, .closed = 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(install_hands_the_slot_on),
        cmocka_unit_test(one_claim_of_two_wins),
        cmocka_unit_test(a_call_goes_round),
        cmocka_unit_test(an_abandoned_call_is_cut),
        cmocka_unit_test(a_dead_caller_frees_a_clean_claim),
        cmocka_unit_test(a_dead_caller_cuts_its_call),
        cmocka_unit_test(a_caller_that_dies_while_it_is_given_a_slot_does_not_keep_it),
        cmocka_unit_test(a_caller_that_dies_inside_is_dealt_with_on_leaving),
        cmocka_unit_test(a_verdict_reaches_a_waiting_caller_once),
        cmocka_unit_test(a_verdict_on_a_claim_without_a_call_is_silent),
        cmocka_unit_test(a_verdict_while_inside_is_told_on_leaving),
        cmocka_unit_test(a_verdict_loses_against_a_whole_reply),
        cmocka_unit_test(a_lost_channel_waits_for_its_verdict),
        cmocka_unit_test(a_condemned_slot_is_not_claimed),
        cmocka_unit_test(a_close_waits_for_whoever_is_inside),
        cmocka_unit_test(a_call_that_is_to_go_on_is_adopted),
        cmocka_unit_test(an_adopted_call_is_given_up_like_any),
        cmocka_unit_test(a_call_that_is_to_go_on_is_cut_at_its_deadline),
        cmocka_unit_test(a_call_on_its_way_to_another_scheduler_is_cut),
        cmocka_unit_test(a_caller_that_dies_inside_is_followed_on_leaving),
        cmocka_unit_test(a_broken_or_condemned_call_is_not_adopted),
        cmocka_unit_test(a_verdict_and_a_close_wait_for_the_adopter_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
