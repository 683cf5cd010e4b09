#ifndef PC_PYTHON_VITALS_H
#define PC_PYTHON_VITALS_H

/*
 * What the VM asks of a worker with a ping (docs/protocol.md section 4): whether Python still comes back to its interpreter, how much
 * memory the process has for itself, to give back what it can, and to collect garbage. The side thread asks and tells, the serve loop does.
 *
 * No Python here: what needs it is a function that the serve loop gives.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"

/* What a ping asks for, as on the wire. */
enum { PC_ASK_IN_C = 1, PC_ASK_MEMORY = 2, PC_ASK_TRIM = 4, PC_ASK_COLLECT = 8 };

/* What a worker does when it is to give memory back, in this order; to collect is only the second. */
enum pc_vitals_what { PC_STEP_HOOKS, PC_STEP_COLLECT, PC_STEP_TRIM, PC_STEPS };

/* One of them, if it was done; bytes that the process had for itself, 0 where that is not known. */
struct pc_vitals_step {
    bool done;
    uint64_t before, after;
    int64_t ns;
    int64_t objects; /* that a collection has found; -1 if it is none */
};

/*
 * Has the main thread call pc_vitals_back when it is between two instructions of Python the next time. Called by the side thread, without
 * the GIL; does not wait. False: it cannot be asked now.
 */
typedef bool (*pc_vitals_poke)(void);

/* Nothing was asked yet. */
void pc_vitals_open(pc_vitals_poke poke);

/* ---- The main thread */

/* It is between two instructions. */
void pc_vitals_back(void);

/* What is to be done in the next pause between two calls: a sum of PC_ASK_TRIM and PC_ASK_COLLECT. One atomic. */
unsigned pc_vitals_due(void);

/* How much memory the process may have for itself, as the VM has said with the last PC_ASK_TRIM; 0: it has not. */
uint64_t pc_vitals_limit(void);

/* Memory was given back. */
void pc_vitals_trimmed(const struct pc_vitals_step steps[PC_STEPS]);

/* Garbage was collected. */
void pc_vitals_collected(const struct pc_vitals_step *step);

/* ---- The side thread */

/*
 * Does what a ping asks for and appends the map of its pong, whose first pair is `started` with the call that runs, or 0. Whether the serve
 * loop, if it waits, is to be woken, because there is something for it to do. `limit` is what PC_ASK_TRIM comes with.
 */
bool pc_vitals_answer(struct pc_writer *w, uint64_t asks, uint64_t limit, uint64_t started);

#endif
