#ifndef PC_PYTHON_MARK_H
#define PC_PYTHON_MARK_H

/*
 * The mark by which the port recognises what a worker has started: PITCREW_INSTANCE=<instance>-<wid, 8 hex digits>. The port
 * reads it from /proc, where the kernel shows the memory that the process was started with, so it is overwritten in
 * that place. No Python here; pc_mark_set is async-signal-safe.
 */

#include <stdint.h>

#define PC_MARK_NAME "PITCREW_INSTANCE"

/* Finds it. Early: before anything can have replaced the variable. 0, or -ENOENT when it is missing or has another form. */
int pc_mark_find(void);

/* Overwrites the digits; only after pc_mark_find has succeeded. */
void pc_mark_set(uint32_t wid);

/* Writes the 8 digits of a worker over `digits`. */
void pc_mark_digits(char *digits, uint32_t wid);

/* How many digits stand at the end of the value. */
enum { PC_MARK_DIGITS = 8 };

#endif
