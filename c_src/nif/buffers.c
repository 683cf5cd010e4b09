/* See buffers.h. */
#include "nif/buffers.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/os.h"
#include "wire/boards.h"
#include "wire/segment_footer.h"

/* Segments that nobody has used for so long are given back. */
static const int64_t idle_ns = INT64_C(10) * 1000 * 1000 * 1000;

struct pc_buffers {
    atomic_uint count; /* of those who have it */
    int socket;
    struct pc_account *account;
    struct pc_boards boards;
    struct pc_segments *segments;
    struct pc_views *views;
};

bool pc_buffers_possible(void) {
    enum { A_PAGE = 4096 };
    void *memory;
    int fd = pc_os_written_memory(A_PAGE, &memory);
    if (fd < 0) {
        return fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM; /* it may be another time */
    }
    (void)munmap(memory, A_PAGE);
    (void)close(fd);
    return true;
}

void pc_buffers_keep(struct pc_buffers *b) { atomic_fetch_add(&b->count, 1); }

void pc_buffers_release(struct pc_buffers *b) {
    if (atomic_fetch_sub(&b->count, 1) == 1) {
        pc_boards_close(&b->boards);
        pc_account_release(b->account);
        enif_free(b);
    }
}

static void shut(struct pc_buffers *b) {
    if (b->segments != NULL) {
        pc_segments_free(b->segments);
    }
    if (b->views != NULL) {
        pc_views_free(b->views);
    }
    (void)close(b->socket);
}

void pc_buffers_shut(struct pc_buffers *b) {
    shut(b);
    pc_buffers_release(b);
}

/* Both ends of the account's limit are the same: the VM's segments and the worker's may each be so many bytes. */
static int fill(struct pc_buffers *b) {
    int error = pc_boards_send(b->socket, &b->boards);
    if (error != 0) {
        return error;
    }
    size_t most = pc_account_most(b->account);
    b->segments =
        pc_segments_new(&(struct pc_segments_opts){.socket = b->socket, .most = most, .board = b->boards.other});
    b->views = pc_views_new(&(struct pc_views_opts){.socket = b->socket, .most = most}, b->boards.own);
    return b->segments == NULL || b->views == NULL ? -ENOMEM : 0;
}

int pc_buffers_open(struct pc_account *account, struct pc_buffers **buffers, int *worker_end) {
    int ends[2];
    struct pc_buffers *b = enif_alloc(sizeof *b);
    if (b == NULL) {
        return -ENOMEM;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        int error = -errno;
        enif_free(b);
        return error;
    }
    *b = (struct pc_buffers){.socket = ends[0], .account = account};
    atomic_init(&b->count, 1);
    pc_account_keep(account);
    int error = fill(b);
    if (error != 0) {
        (void)close(ends[1]);
        pc_buffers_shut(b);
        return error;
    }
    *buffers = b;
    *worker_end = ends[1];
    return 0;
}

struct pc_views *pc_buffers_views(struct pc_buffers *b) {
    return b->views;
}
struct pc_account *pc_buffers_account(struct pc_buffers *b) {
    return b->account;
}

void pc_buffers_tend(struct pc_buffers *b) {
    pc_segments_trim(b->segments, idle_ns);
    pc_views_tend(b->views);
}

/* ---- A call on its way out */

bool pc_outgo_put(struct pc_outgo *o, const void *bytes, size_t n) {
    struct pc_segment_name *name = &o->names[o->count];
    void *memory;
    if (o->count == PC_SEGMENTS || !pc_segments_take(o->buffers->segments, n, name, &memory)) {
        return false;
    }
    memcpy(memory, bytes, n);
    pc_segments_lend(o->buffers->segments, name);
    o->count++;
    o->bytes += n;
    return true;
}

bool pc_outgo_ready(const struct pc_outgo *o, size_t n) { return pc_segments_ready(o->buffers->segments, n); }

void pc_buffers_cancel(struct pc_buffers *b, const uint8_t *body, size_t n) {
    struct pc_segment_footer footer;
    if (!pc_segment_footer_read(body, n, &footer)) {
        return;
    }
    for (uint32_t i = 0; i < footer.count; i++) {
        struct pc_segment_name name;
        pc_segment_footer_name(&footer, i, &name);
        pc_segments_cancel(b->segments, &name);
    }
}

void pc_outgo_cancel(struct pc_outgo *o, uint32_t but) {
    while (o->count > but) {
        const struct pc_segment_name *name = &o->names[--o->count];
        o->bytes -= name->n;
        pc_segments_cancel(o->buffers->segments, name);
    }
}
