#ifndef PC_NIF_BUFFERS_H
#define PC_NIF_BUFFERS_H

/*
 * The shared memory of one channel (wire/segment.h) as the VM has it: segments for arguments, views of the worker's segments, and
 * the pool's account of what terms hold of those. It lives as long as its channel or a term needs it.
 */

#include <erl_nif.h>
#include <stdbool.h>
#include <stdint.h>

#include "nif/account.h"
#include "wire/segment.h"

struct pc_buffers;

/* Whether the system has memory that can be shared and sealed. */
bool pc_buffers_possible(void);

/*
 * 0 or -errno. *worker_end is a descriptor for the worker, the caller's to close; the account is kept. The handle is the channel's, for
 * pc_buffers_shut.
 */
int pc_buffers_open(struct pc_account *account, struct pc_buffers **buffers, int *worker_end);

/* The channel is gone: what the worker has of arguments is not the VM's any more; what terms have of results stays. */
void pc_buffers_shut(struct pc_buffers *buffers);

void pc_buffers_keep(struct pc_buffers *buffers);
void pc_buffers_release(struct pc_buffers *buffers);

struct pc_views *pc_buffers_views(struct pc_buffers *buffers);
struct pc_account *pc_buffers_account(struct pc_buffers *buffers);

/* What has not been used for a while goes back to the system, at both ends. */
void pc_buffers_tend(struct pc_buffers *buffers);

/* ---- A call on its way out */

/* The segments that a frame names. */
struct pc_outgo {
    struct pc_buffers
        *buffers; /* NULL: none yet; then the first payload that would be put into a segment ends the encoding */
    bool wanted;  /* and that has happened */
    uint32_t count;
    size_t bytes;
    struct pc_segment_name names[PC_SEGMENTS];
};

static inline void pc_outgo_init(struct pc_outgo *outgo, struct pc_buffers *buffers) {
    outgo->buffers = buffers; /* names have no value before there are some */
    outgo->wanted = false;
    outgo->count = 0;
    outgo->bytes = 0;
}

/* Copies n bytes into a segment, which is then one of the frame's. False: there is none for it. */
bool pc_outgo_put(struct pc_outgo *outgo, const void *bytes, size_t n);

/* Whether that takes no longer than copying. */
bool pc_outgo_ready(const struct pc_outgo *outgo, size_t n);

/* The frame will not leave, or not with more than the first so many. */
void pc_outgo_cancel(struct pc_outgo *outgo, uint32_t but);

/* The same with all that a body names at its end, which will not leave. */
void pc_buffers_cancel(struct pc_buffers *buffers, const uint8_t *body, size_t n);

#endif
