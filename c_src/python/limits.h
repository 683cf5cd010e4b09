#ifndef PC_PYTHON_LIMITS_H
#define PC_PYTHON_LIMITS_H

/*
 * What the kernel allows this process (options rlimits and nice). Address space and descriptors have a reserve above their limits, which
 * is used only while an error is told: one that has run out of either could not even say so, for what it took is held by the
 * traceback, and telling it imports modules. No Python here.
 */

#include <stdint.h>

enum pc_limit { PC_LIMIT_ADDRESS_SPACE, PC_LIMIT_CPU, PC_LIMIT_FILES, PC_LIMIT_NICE };

/* Bytes, seconds, descriptors, or what is added to the niceness. 0 or -errno. */
int pc_limit_set(enum pc_limit limit, uint64_t value);

/* Opens the reserves, and closes them; may be repeated. For the serve loop's thread, and free where there is no limit. */
void pc_limits_relax(void);
void pc_limits_restore(void);

#endif
