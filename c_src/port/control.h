#ifndef PC_PORT_CONTROL_H
#define PC_PORT_CONTROL_H

/* Messages from the VM: cut out of stdin, read, and carried out. */

#include "port.h"

/*
 * Reads once from stdin, which is nonblocking, and carries out every message that is complete. End of file, and input that is
 * not in the protocol, begin the stop.
 */
void pc_control_read(struct pc_port *p);

/* Carries out one message. False: it is not in the protocol. An operation that is not known is noted and ignored. */
bool pc_control_handle(struct pc_port *p, const uint8_t *message, size_t n);

#endif
