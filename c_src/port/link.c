/*
 * Zygote link. Every descriptor that arrives is either handed to a worker or closed before the packet is left.
 */

#include "link.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/reader.h"
#include "memory.h"
#include "messages.h"
#include "watch.h"
#include "worker.h"
#include "zygote.h"

/* The largest packet that a zygote may send, and how many are taken in one turn of the loop; no socket holds more than the other number. */
enum { PACKET_MAX = 256 * 1024, PACKETS = 64, PACKETS_EVER = 4096, FDS = 3 };

struct packet {
    struct pc_reader reader;
    int fds[FDS];
    int fd_count;
};

static void close_fds(struct packet *packet) {
    for (int i = 0; i < packet->fd_count; i++) {
        close(packet->fds[i]);
    }
    packet->fd_count = 0;
}

static void broken(struct pc_port *p, struct pc_zygote *z, const char *why) {
    pc_output_note(&p->output, "pitcrew_port: zygote %u is killed: %s", z->zid, why);
    pc_zygote_signal(z, SIGKILL);
    pc_link_close(z);
}

void pc_link_close(struct pc_zygote *z) {
    while (z->first != NULL) {
        struct pc_packet *packet = z->first;
        z->first = packet->next;
        free(packet);
    }
    z->last = &z->first;
    if (z->link >= 0) {
        close(z->link);
        z->link = -1;
    }
}

void pc_link_send_fork(struct pc_port *p, struct pc_zygote *z, uint32_t wid, const uint8_t *payload, size_t n) {
    struct pc_writer w;
    pc_writer_init(&w, NULL, 0, SIZE_MAX, pc_grow_malloc, NULL);
    pc_write_array(&w, 3);
    pc_write_cstr(&w, "fork");
    pc_write_uint(&w, wid);
    pc_write_bin(&w, payload, n);
    struct pc_packet *packet = pc_alloc(sizeof *packet + w.len);
    packet->n = w.len;
    memcpy(packet->bytes, pc_must(w.data), w.len);
    free(w.data);
    *z->last = packet;
    z->last = &packet->next;
    pc_link_flush(p, z);
}

void pc_link_flush(struct pc_port *p, struct pc_zygote *z) {
    while (z->link >= 0 && z->first != NULL) {
        struct pc_packet *packet = z->first;
        if (send(z->link, packet->bytes, packet->n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
                return;
            }
            if (errno != EPIPE && errno != ECONNRESET) {
                broken(p, z, strerror(errno));
                return;
            }
            /* It is going; its last words are still to be read. */
        }
        z->first = packet->next;
        if (z->first == NULL) {
            z->last = &z->first;
        }
        free(packet);
    }
}

/* The fields after the name. Each returns whether the packet was right. */

static bool on_payload(struct pc_port *p, struct pc_zygote *z, struct packet *packet, bool ready) {
    const uint8_t *payload;
    uint32_t n;
    if (pc_read_bytes(&packet->reader, &payload, &n) != PC_OK) {
        return false;
    }
    z->ready = z->ready || ready;
    (ready ? pc_message_ready : pc_message_failed)(&p->output, z->zid, payload, n);
    return true;
}

static bool read_wid(struct packet *packet, uint32_t *wid) {
    uint64_t value;
    if (pc_read_uint(&packet->reader, &value) != PC_OK || value > UINT32_MAX) {
        return false;
    }
    *wid = (uint32_t)value;
    return true;
}

static bool on_forked(struct pc_port *p, struct pc_zygote *z, struct packet *packet) {
    uint32_t wid;
    int64_t pid;
    if (!read_wid(packet, &wid) || pc_read_int(&packet->reader, &pid) != PC_OK || pid <= 1 || pid > INT32_MAX ||
        packet->fd_count != FDS || !pc_worker_forked(p, z, wid, (pid_t)pid, packet->fds)) {
        return false;
    }
    packet->fd_count = 0;
    return true;
}

static bool on_fork_failed(struct pc_port *p, struct pc_zygote *z, struct packet *packet) {
    uint32_t wid, n;
    const char *message;
    if (!read_wid(packet, &wid) || pc_read_str(&packet->reader, &message, &n) != PC_OK) {
        return false;
    }
    struct pc_worker *w = pc_worker_by_wid(p, wid);
    if (w == NULL || w->zygote != z || w->pid != 0) {
        return false;
    }
    pc_worker_fork_failed(p, w, message, n);
    return true;
}

static bool how_known(const struct pc_end *end) {
    return (end->how_n == 4 && memcmp(end->how, "exit", 4) == 0) ||
           (end->how_n == 6 && memcmp(end->how, "signal", 6) == 0);
}

static bool on_exit_report(struct pc_port *p, struct pc_zygote *z, struct packet *packet) {
    struct pc_reader *r = &packet->reader;
    struct pc_end end;
    uint32_t wid;
    int64_t pid;
    if (!read_wid(packet, &wid) || pc_read_int(r, &pid) != PC_OK || pc_read_str(r, &end.how, &end.how_n) != PC_OK ||
        pc_read_int(r, &end.code) != PC_OK || pc_read_uint(r, &end.utime_us) != PC_OK ||
        pc_read_uint(r, &end.stime_us) != PC_OK || pc_read_uint(r, &end.maxrss_kb) != PC_OK || !how_known(&end)) {
        return false;
    }
    struct pc_worker *w = pc_worker_by_wid(p, wid);
    if (w == NULL || w->zygote != z || w->pid != pid) {
        return false;
    }
    pc_worker_exited(p, w, &end);
    return true;
}

static bool handle(struct pc_port *p, struct pc_zygote *z, struct packet *packet) {
    const char *name;
    uint32_t count, n;
    if (pc_read_array(&packet->reader, &count) != PC_OK || pc_read_str(&packet->reader, &name, &n) != PC_OK) {
        return false;
    }
#define IS(text) (n == sizeof(text) - 1 && memcmp(name, text, n) == 0)
    if (IS("forked")) {
        return on_forked(p, z, packet);
    }
    if (IS("exit")) {
        return on_exit_report(p, z, packet);
    }
    if (IS("fork_failed")) {
        return on_fork_failed(p, z, packet);
    }
    if (IS("ready") || IS("failed")) {
        return on_payload(p, z, packet, IS("ready"));
    }
#undef IS
    pc_output_note(&p->output, "pitcrew_port: zygote %u sent an unknown message, which was ignored: %.*s", z->zid,
                   (int)(n < 64 ? n : 64), name);
    return true;
}

/* Takes the descriptors out of the control message, whose length leaves room for FDS and no more. */
static void take_fds(struct msghdr *message, struct packet *packet) {
    packet->fd_count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            packet->fd_count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(packet->fds, CMSG_DATA(c), (size_t)packet->fd_count * sizeof(int));
        }
    }
}

/* One packet: false when there is none now, or the link is closed. */
static bool read_packet(struct pc_port *p, struct pc_zygote *z) {
    static uint8_t bytes[PACKET_MAX];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS * sizeof(int))];
    } control;
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(FDS * sizeof(int))};
    struct packet packet;
    ssize_t n = recvmsg(z->link, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return errno == EINTR;
    }
    if (n < 0) {
        pc_link_close(z);
        return false;
    }
    take_fds(&message, &packet);
    if (n == 0) {
        /* An empty packet looks the same, and is not in the protocol. */
        close_fds(&packet);
        pc_link_close(z);
        return false;
    }
    pc_watch_heard(z);
    pc_reader_init(&packet.reader, bytes, (size_t)n);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        broken(p, z, "it sent a packet that is too large");
    } else if (!handle(p, z, &packet)) {
        broken(p, z, "it sent a message that is not in the protocol");
    }
    close_fds(&packet);
    return z->link >= 0;
}

static void read_packets(struct pc_port *p, struct pc_zygote *z, int most) {
    for (int i = 0; i < most && z->link >= 0; i++) {
        if (!read_packet(p, z)) {
            return;
        }
    }
}

void pc_link_read(struct pc_port *p, struct pc_zygote *z) { read_packets(p, z, PACKETS); }

void pc_link_drain(struct pc_port *p, struct pc_zygote *z) { read_packets(p, z, PACKETS_EVER); }
