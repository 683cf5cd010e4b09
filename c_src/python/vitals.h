#ifndef PC_PYTHON_VITALS_H
#define PC_PYTHON_VITALS_H

/*
 * What the VM asks of a worker with a ping (docs/protocol.md section 4): whether Python still comes back to its interpreter, how much
 * memory the process has for itself, and to give back what it can. The side thread asks and tells, the serve loop does.
 *
 * No Python here: what needs it is a function that the serve loop gives.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"

/* What a ping asks for, as on the wire. */
enum { PC_ASK_IN_C = 1, PC_ASK_MEMORY = 2, PC_ASK_TRIM = 4 };

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

/* Whether memory is to be given back, in the next pause between two calls. One atomic. */
bool pc_vitals_trim_due(void);

/* It was. */
void pc_vitals_trimmed(void);

/* ---- The side thread */

/*
 * Does what a ping asks for and appends the map of its pong, whose first pair is `started` with the call that runs, or 0. Whether the serve
 * loop, if it waits, is to be woken, because there is something for it to do.
 */
bool pc_vitals_answer(struct pc_writer *w, uint64_t asks, uint64_t started);

#endif
