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

/* Gives free memory back to the system. May take long. */
void pc_upkeep_release(void);

#endif
