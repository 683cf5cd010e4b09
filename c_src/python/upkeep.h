#ifndef PC_PYTHON_UPKEEP_H
#define PC_PYTHON_UPKEEP_H

/* What vitals.h needs of Python. */

#include "core.h"

#include <stdbool.h>

/* For pc_vitals_open. */
bool pc_upkeep_poke(void);

/*
 * What is due: has the tools' hooks clear caches, collects garbage and gives free memory back to the system; or collects only. May take long; runs hooks
 * and finalizers; sets no exception. Between two calls.
 */
void pc_upkeep_trim(void);

/* The serve loop waits for a call from here on, or no longer. */
void pc_upkeep_rest(bool rests);

/* It was woken, by a signal: does what is due if it rests. At other times code of the user's may be half-way, a result's way into a frame for one. */
void pc_upkeep_woken(void);

/* Gives free memory back to the system. May take long. */
void pc_upkeep_release(void);

#endif
