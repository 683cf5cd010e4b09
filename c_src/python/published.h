#ifndef PC_PYTHON_PUBLISHED_H
#define PC_PYTHON_PUBLISHED_H

/*
 * The id of the call that has started last, where the VM can read it when the worker is dead (docs/protocol.md section 2): calls
 * of a higher id have had no effect. No Python here. The serve loop's only, and not for a process that a tool forked: there the
 * shared page is not mapped.
 */

#include <stdint.h>

#include "wire/started.h"

/* Maps the beginning of a shared file, which stays the caller's; -1: a word that nobody else sees. 0 or -errno. */
int pc_published_open(int fd);

/* All of the memory, until pc_published_close; NULL if the file has no more than the word. */
struct pc_started *pc_published_memory(void);

/* Right before the tool starts. Ids grow, and the word is never reset. */
void pc_published_set(uint64_t id);

void pc_published_close(void);

#endif
