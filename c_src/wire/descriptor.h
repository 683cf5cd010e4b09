#ifndef PC_WIRE_DESCRIPTOR_H
#define PC_WIRE_DESCRIPTOR_H

/* Descriptors that travel over a unix socket beside bytes. */

#include <stddef.h>
#include <sys/types.h>

/* Sends up to n bytes, and a descriptor with the first of them; it stays the caller's. How many, or -errno; never blocks, and raises no signal. */
ssize_t pc_descriptor_send(int socket, const void *bytes, size_t n, int fd);

#endif
