/*
 * The packets of segment_private.h, over a SOCK_SEQPACKET socket. Whatever the other end sends, no descriptor is left behind: there is room for as
 * many as a packet may have, the kernel closes those beyond, and what came is closed here unless the packet is good.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire/descriptor.h"
#include "wire/segment_private.h"

static size_t descriptors_of(uint32_t kind) { return kind == PC_PACKET_BOARDS ? 2 : kind == PC_PACKET_NEW ? 1 : 0; }

int pc_segment_packet_send(int socket, const struct pc_segment_packet *packet, const int *fds) {
    ssize_t sent = pc_descriptors_send(socket, packet, sizeof *packet, fds, descriptors_of(packet->kind));
    return sent < 0 ? (int)sent : 0;
}

void pc_segment_packet_close(const int fds[PC_PACKET_FDS]) {
    for (int i = 0; i < PC_PACKET_FDS; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

/* That the other end has closed without reading all is said once, and before what it had sent; which may be what a last answer speaks of. */
static ssize_t receive(int socket, struct msghdr *message) {
    ssize_t n;
    bool reset = false, again;
    do {
        n = recvmsg(socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        again = n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset));
        reset = n < 0 && errno == ECONNRESET;
    } while (again);
    return n;
}

/* How many came; no more than there was room for. */
static size_t take_descriptors(struct msghdr *message, int fds[PC_PACKET_FDS]) {
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds + count, CMSG_DATA(c), n * sizeof(int));
            count += n;
        }
    }
    return count;
}

enum pc_packet_status pc_segment_packet_receive(int socket, struct pc_segment_packet *packet, int fds[PC_PACKET_FDS]) {
    union {
        struct cmsghdr header; /* for its alignment */
        char space[CMSG_SPACE(PC_PACKET_FDS * sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = packet, .iov_len = sizeof *packet};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    memset(&control, 0, sizeof control);
    ssize_t n = receive(socket, &message);
    if (n < 0) {
        return PC_PACKET_NONE;
    }
    size_t count = take_descriptors(&message, fds);
    if (n == 0 && count == 0) { /* the other end is closed, or sends nothings */
        return PC_PACKET_NONE;
    }
    bool whole = n == (ssize_t)sizeof *packet && (message.msg_flags & MSG_TRUNC) == 0 && packet->kind < PC_PACKET_KINDS;
    bool fewer = (message.msg_flags & MSG_CTRUNC) != 0;
    if (whole && !fewer && count == descriptors_of(packet->kind)) {
        return PC_PACKET_GOOD;
    }
    for (size_t i = 0; i < count; i++) {
        (void)close(fds[i]);
    }
    return whole && fewer && count == 0 && descriptors_of(packet->kind) > 0 ? PC_PACKET_LOST : PC_PACKET_BAD;
}
