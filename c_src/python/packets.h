#ifndef PC_PYTHON_PACKETS_H
#define PC_PYTHON_PACKETS_H

/*
 * Packets that wait for room on the zygote link. Nothing is ever dropped: a link that is full only makes the queue longer.
 * No Python here.
 */

#include <stdbool.h>
#include <stddef.h>

#include "codec/writer.h"

enum { PC_PACKET_FDS = 3 };

struct pc_packet {
    struct pc_packet *next;
    struct pc_writer w; /* the bytes, in malloc's memory */
    size_t fd_count;
    int fds[PC_PACKET_FDS]; /* owned */
};

struct pc_packets {
    struct pc_packet *first, *last;
};

/* An empty packet, or NULL. To be filled through its writer, then pushed or freed. */
struct pc_packet *pc_packet_new(void);
void pc_packet_free(struct pc_packet *packet);

/* Takes the packet over. */
void pc_packets_push(struct pc_packets *q, struct pc_packet *packet);

/* Sends what the socket takes. False: the link is gone. */
bool pc_packets_flush(struct pc_packets *q, int fd);

/* Frees everything that waits, and closes its descriptors. */
void pc_packets_clear(struct pc_packets *q);

#endif
