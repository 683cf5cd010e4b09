#ifndef PC_WIRE_SEGMENT_PRIVATE_H
#define PC_WIRE_SEGMENT_PRIVATE_H

/* What both ends of segment.h share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the segment for a payload of n bytes, so that those of about one size share segments; 0: more than `most`. */
size_t pc_segment_size(size_t n, size_t most);

/* The generation after this one. */
uint32_t pc_segment_next(uint32_t generation);

/* Whether a generation comes after another one, of the same segment and not long ago. */
bool pc_segment_is_after(uint32_t generation, uint32_t other);

/* ---- What the socket carries: packets of a fixed size, integers in native order. */

enum pc_segment_packet_kind {
    PC_PACKET_BOARDS, /* the first one, with two descriptors (boards.h) */
    PC_PACKET_NEW,    /* with a descriptor: this is the segment of that index from now on */
    PC_PACKET_FORGET, /* it is not used any more */
    PC_PACKET_KINDS
};

struct pc_segment_packet {
    uint32_t kind;
    uint32_t index;
    uint64_t size; /* bytes of what the descriptors name */
};

enum { PC_PACKET_FDS = 2 }; /* with one packet, at most */

enum pc_packet_status {
    PC_PACKET_NONE, /* nothing has come */
    PC_PACKET_GOOD, /* with as many descriptors as its kind has, which are the caller's */
    PC_PACKET_LOST, /* the same, but this process could not take the descriptors: it has too many */
    PC_PACKET_BAD,  /* anything else, dropped with all that came with it */
};

/* With as many descriptors as its kind has, which stay the caller's. 0 or -errno, with nothing sent; never blocks, and raises no signal. */
int pc_segment_packet_send(int socket, const struct pc_segment_packet *packet, const int *fds);

/* Those of a packet, which may be -1 where there is none. */
void pc_segment_packet_close(const int fds[PC_PACKET_FDS]);

/* Never blocks. Descriptors are close-on-exec. */
enum pc_packet_status pc_segment_packet_receive(int socket, struct pc_segment_packet *packet, int fds[PC_PACKET_FDS]);

#endif
