/*
 * What the zygote tells. Without memory for a few bytes nothing can be told any more: it ends, and the port sees the link close.
 */

#include "tell.h"

#include <unistd.h>

static struct pc_packet *packet_begin(const char *name, size_t fields) {
    struct pc_packet *packet = pc_packet_new();
    if (packet == NULL) {
        _exit(1);
    }
    pc_write_array(&packet->w, fields);
    pc_write_cstr(&packet->w, name);
    return packet;
}

static void packet_end(struct pc_packets *q, struct pc_packet *packet) {
    if (packet->w.status != PC_OK) {
        _exit(1);
    }
    pc_packets_push(q, packet);
}

void pc_tell_fork_failed(struct pc_packets *q, uint32_t wid, const char *message) {
    struct pc_packet *packet = packet_begin("fork_failed", 3);
    pc_write_uint(&packet->w, wid);
    pc_write_cstr(&packet->w, message);
    packet_end(q, packet);
}

void pc_tell_exit(struct pc_packets *q, const struct pc_child_exit *e) {
    struct pc_packet *packet = packet_begin("exit", 8);
    pc_write_uint(&packet->w, e->wid);
    pc_write_int(&packet->w, e->pid);
    pc_write_cstr(&packet->w, e->by_signal ? "signal" : "exit");
    pc_write_int(&packet->w, e->code);
    pc_write_int(&packet->w, e->utime_us);
    pc_write_int(&packet->w, e->stime_us);
    pc_write_int(&packet->w, e->maxrss_kb);
    packet_end(q, packet);
}

/* The port's pidfd is made before the fork is told, and is a descriptor of its own. */
void pc_tell_forked(struct pc_packets *q, uint32_t wid, pid_t pid, int pidfd, struct pc_launch_fds *f) {
    struct pc_packet *packet = packet_begin("forked", 3);
    pc_write_uint(&packet->w, wid);
    pc_write_int(&packet->w, pid);
    packet->fds[0] = pidfd;
    packet->fds[1] = f->out[0];
    packet->fds[2] = f->err[0];
    packet->fd_count = 3;
    f->out[0] = f->err[0] = -1;
    packet_end(q, packet);
}
