/* See budget.h. The first look at the clock comes after one grant, so small work never pays for it. */

#include "budget.h"

#include <sched.h>

enum {
    SLICE_NS = 1000 * 1000, /* what the scheduler takes a time slice for */
    PERCENT_NS = SLICE_NS / 100,
};

void pc_budget_init(struct pc_budget *b, size_t exact) {
    b->exact = exact != 0;
    b->units = b->exact ? (int64_t)exact : PC_BUDGET_GRANT;
    b->granted = b->units;
    b->now = 0;
    b->end = 0;
}

bool pc_budget_extend(struct pc_budget *b, int64_t *units) {
    if (b == NULL) {
        /*
         * There are as many dirty threads as cores, so a normal scheduler may be waiting for one of the system's time slices of
         * 4 ms to end. This costs less than 1 in 100.
         */
        (void)sched_yield();
        *units = PC_BUDGET_GRANT;
        return true;
    }
    if (b->exact) {
        *units = 0;
        return false;
    }
    b->now = enif_monotonic_time(ERL_NIF_NSEC);
    if (b->end == 0) {
        b->end = b->now + PC_BUDGET_NS;
    }
    int64_t left = (b->end - b->now) / PC_BUDGET_UNIT_NS + *units;
    if (left <= 0) {
        *units = 0; /* what was to be paid for is not done */
        return false;
    }
    int64_t grant = (left < PC_BUDGET_GRANT ? left : PC_BUDGET_GRANT) - *units;
    b->granted += grant;
    *units += grant;
    return true;
}

void pc_budget_account(ErlNifEnv *env, const struct pc_budget *b) {
    ErlNifTime by_units = (b->granted - b->units) * PC_BUDGET_UNIT_NS;
    ErlNifTime by_clock = b->end != 0 ? b->now - (b->end - PC_BUDGET_NS) : 0;
    ErlNifTime spent = by_units > by_clock ? by_units : by_clock;
    if (spent >= PERCENT_NS) {
        (void)enif_consume_timeslice(env, spent < SLICE_NS ? (int)(spent / PERCENT_NS) : 100);
    }
}

ERL_NIF_TERM pc_budget_run(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], pc_budget_fun *fun) {
    struct pc_budget budget;
    pc_budget_init(&budget, 0);
    ERL_NIF_TERM answer = fun(env, argc, argv, &budget);
    pc_budget_account(env, &budget);
    return answer;
}
