#ifndef PC_CODEC_LIMITS_H
#define PC_CODEC_LIMITS_H

#include <stdint.h>

/* Containers inside containers that any part of Pitcrew follows; recursion is bounded by it. */
#define PC_MAX_DEPTH 512

/* Largest frame payload by default, in bytes. */
#define PC_MAX_FRAME (UINT32_C(1) << 30)

/* What can go wrong in codec/. The edges (NIF, CPython, port) turn these into their own errors. */
enum pc_status {
    PC_OK = 0,
    PC_NO_MEMORY,  /* the allocator refused */
    PC_TOO_BIG,    /* the writer's limit would be passed */
    PC_TRUNCATED,  /* the input ends inside a value */
    PC_INVALID,    /* a byte that MessagePack does not use, or a payload that breaks its type's rule */
    PC_TOO_DEEP,   /* more than PC_MAX_DEPTH containers */
    PC_BUDGET,     /* the work budget ran out: do it over where there is more time */
    PC_WRONG_TYPE, /* a reader helper met another type than it was asked for */
};

/* A short English phrase for a status; never NULL. */
const char *pc_status_text(enum pc_status status);

#endif
