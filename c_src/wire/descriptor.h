#ifndef PC_WIRE_DESCRIPTOR_H
#define PC_WIRE_DESCRIPTOR_H

/* Descriptors that travel over a unix socket beside bytes. */

#include <stddef.h>
#include <sys/types.h>

enum { PC_DESCRIPTORS_MOST = 4 };

/*
 * Sends up to n bytes, and descriptors, if there are any, with the first of them; they stay the caller's. How many bytes, or -errno; never
 * blocks, and raises no signal.
 */
ssize_t pc_descriptors_send(int socket, const void *bytes, size_t n, const int *fds, size_t count);

#endif
