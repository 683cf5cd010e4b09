/* See descriptor.h. */
#include "wire/descriptor.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

ssize_t pc_descriptors_send(int socket, const void *bytes, size_t n, const int *fds, size_t count) {
    union {
        struct cmsghdr header; /* for its alignment */
        char space[CMSG_SPACE(PC_DESCRIPTORS_MOST * sizeof(int))];
    } control;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = NULL, .msg_controllen = 0};
    if (count > PC_DESCRIPTORS_MOST) {
        return -EINVAL;
    }
    if (count > 0) {
        memset(&control, 0, sizeof control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}
