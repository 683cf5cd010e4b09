#ifndef PC_WIRE_STARTED_H
#define PC_WIRE_STARTED_H

/* The memory that a worker writes and the VM reads (docs/protocol.md, section 2). Integers in native order. */

#include <stdatomic.h>
#include <stdint.h>

enum { PC_STARTED_HEAD = 4096, PC_STARTED_HELD = 64 * 1024 };

struct pc_started {
    _Atomic uint64_t id;
    /* Offsets in the stream of bytes from the worker. */
    _Atomic uint64_t base;  /* of the first byte of `held` */
    _Atomic uint64_t ready; /* of the first one that is not made yet */
    uint8_t rest[PC_STARTED_HEAD - 3 * sizeof(uint64_t)];
    uint8_t held[PC_STARTED_HELD];
};

#endif
