#ifndef PC_NIF_STARTED_H
#define PC_NIF_STARTED_H

/* The word in which a worker publishes the id of the call that it has started last, in memory that both share (docs/protocol.md, section 4). */

#include <stdatomic.h>
#include <stdint.h>

/* A new word, mapped for reading, and a descriptor of its memory for the worker; or -errno. */
int pc_started_map(const _Atomic uint64_t **word);
void pc_started_unmap(const _Atomic uint64_t *word);

#endif
