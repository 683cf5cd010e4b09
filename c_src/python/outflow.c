/* A part is an outbox as it was given, with its memory. Parts are sent in order, each to its end before the next. */

#include "outflow.h"

#include <stdlib.h>

#include "channel.h"

struct pc_outflow_part {
    struct pc_outbox out;
    struct pc_outflow_part *next;
};

void pc_outflow_init(struct pc_outflow *f, int fd) { *f = (struct pc_outflow){.fd = fd}; }

static void drop_first(struct pc_outflow *f) {
    struct pc_outflow_part *part = f->first;
    f->first = part->next;
    f->last = f->first == NULL ? NULL : f->last;
    f->sent++;
    pc_outbox_destroy(&part->out);
    free(part);
}

void pc_outflow_destroy(struct pc_outflow *f) {
    while (f->first != NULL) {
        drop_first(f);
    }
}

enum pc_flow pc_outflow_flush(struct pc_outflow *f) {
    while (f->first != NULL) {
        enum pc_io io = pc_outbox_flush(&f->first->out, f->fd);
        if (io != PC_IO_DONE) {
            return io == PC_IO_AGAIN ? PC_FLOW_WAITS : PC_FLOW_GONE;
        }
        drop_first(f);
    }
    return PC_FLOW_SENT;
}

static int append(struct pc_outflow *f, struct pc_outbox *out) {
    struct pc_outflow_part *part = malloc(sizeof *part);
    if (part == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    part->out = *out;
    part->next = NULL;
    pc_outbox_init(out);
    if (f->last != NULL) {
        f->last->next = part;
    } else {
        f->first = part;
    }
    f->last = part;
    f->put++;
    return PC_FLOW_WAITS;
}

int pc_outflow_put(struct pc_outflow *f, struct pc_outbox *out) {
    if (f->first == NULL) {
        enum pc_io io = pc_outbox_flush(out, f->fd);
        if (io != PC_IO_AGAIN) {
            return io == PC_IO_DONE ? PC_FLOW_SENT : PC_FLOW_GONE;
        }
    }
    return append(f, out);
}

int pc_outflow_wait(struct pc_outflow *f) {
    uint64_t all = f->put;
    for (;;) {
        enum pc_flow flow = pc_outflow_flush(f);
        if (flow == PC_FLOW_GONE || f->sent >= all) {
            return flow == PC_FLOW_GONE ? PC_FLOW_GONE : PC_FLOW_SENT;
        }
        if (pc_channel_wait_room(f->fd) < 0) {
            return -1;
        }
    }
}
