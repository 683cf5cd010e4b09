#ifndef PC_NIF_BUDGET_H
#define PC_NIF_BUDGET_H

/*
 * How much work a function does before it leaves a normal scheduler. Work is counted in units, which costs next to nothing; each
 * time some thousands of them are used up the clock is looked at, and more are granted until it says that it is time to go.
 * So it does not matter much how well the units were estimated, nor how fast the machine is.
 */

#include <erl_nif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* A unit is about one number, or the bytes below: 5 to 20 ns. What costs more counts as several. */
    PC_COPIED_PER_UNIT = 128,  /* bytes copied, into memory that may have to be mapped first */
    PC_CHECKED_PER_UNIT = 16,  /* bytes of text validated, at worst */
    PC_BUDGET_GRANT = 4000,    /* units between two looks at the clock */
    PC_BUDGET_NS = 400 * 1000, /* from the first look on; a NIF may take a millisecond */
    PC_BUDGET_UNIT_NS = 10,
};

struct pc_budget {
    int64_t units;   /* left until the clock is looked at */
    int64_t granted; /* so far */
    ErlNifTime now;  /* of the last look; 0 before the first */
    ErlNifTime end;
    bool exact; /* for tests: so many units, whatever the clock says */
};

/* With `exact` units, or as usual when that is 0. */
void pc_budget_init(struct pc_budget *b, size_t exact);

/*
 * Called with *units below zero: grants more if there is time for what is owed and some more. NULL is a budget without an end,
 * for dirty schedulers: it gives the core to whoever waits for it, and grants. False, and no units left, when it is time to go.
 */
bool pc_budget_extend(struct pc_budget *b, int64_t *units);

/* Tells the scheduler about the work; at most a whole time slice is taken. Only on a normal scheduler. */
void pc_budget_account(ErlNifEnv *env, const struct pc_budget *b);

/* A native function, but for the budget; with NULL it runs on a dirty scheduler. */
typedef ERL_NIF_TERM pc_budget_fun(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], struct pc_budget *budget);

/* Runs one within the usual budget and accounts for it. Only on a normal scheduler. */
ERL_NIF_TERM pc_budget_run(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[], pc_budget_fun *fun);

#endif
