/* See packets.h. */

#include "packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKET_MOST = 128 * 1024 };

struct pc_packet *pc_packet_new(void) {
    struct pc_packet *packet = calloc(1, sizeof *packet);
    if (packet != NULL) {
        pc_writer_init(&packet->w, NULL, 0, PACKET_MOST, pc_grow_malloc, NULL);
    }
    return packet;
}

void pc_packet_free(struct pc_packet *packet) {
    for (size_t i = 0; i < packet->fd_count; i++) {
        (void)close(packet->fds[i]);
    }
    free(packet->w.data);
    free(packet);
}

void pc_packets_push(struct pc_packets *q, struct pc_packet *packet) {
    packet->next = NULL;
    if (q->last == NULL) {
        q->first = packet;
    } else {
        q->last->next = packet;
    }
    q->last = packet;
}

static ssize_t send_one(struct pc_packet *packet, int fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * PC_PACKET_FDS)];
    } control;
    struct iovec data = {.iov_base = packet->w.data, .iov_len = packet->w.len};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (packet->fd_count > 0) {
        size_t n = sizeof(int) * packet->fd_count;
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n);
        memcpy(CMSG_DATA(header), packet->fds, n);
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

static void pop(struct pc_packets *q) {
    struct pc_packet *packet = q->first;
    q->first = packet->next;
    if (q->first == NULL) {
        q->last = NULL;
    }
    pc_packet_free(packet);
}

bool pc_packets_flush(struct pc_packets *q, int fd) {
    while (q->first != NULL) {
        if (send_one(q->first, fd) < 0) {
            /* Too many descriptors in flight, or no kernel memory, pass as the other end reads. */
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS || errno == ENOBUFS ||
                   errno == ENOMEM;
        }
        pop(q);
    }
    return true;
}

void pc_packets_clear(struct pc_packets *q) {
    while (q->first != NULL) {
        pop(q);
    }
}
