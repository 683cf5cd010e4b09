#ifndef PC_NIF_STARTED_H
#define PC_NIF_STARTED_H

/*
 * Memory that a worker writes and the VM reads (docs/protocol.md, section 2): the id of the call that it has started last, and answers
 * that it has not sent yet, which the VM takes from there when the worker has died.
 */

#include <stddef.h>
#include <stdint.h>

struct pc_started; /* mapped for reading */

/* New memory, and a descriptor of it for the worker; or -errno. */
int pc_started_map(const struct pc_started **started);
void pc_started_unmap(const struct pc_started *started);

uint64_t pc_started_id(const struct pc_started *started);

/* Of a worker that is dead: what it would have sent next, after the first `received` bytes. */
size_t pc_started_unsent(const struct pc_started *started, uint64_t received, const uint8_t **data);

#endif
