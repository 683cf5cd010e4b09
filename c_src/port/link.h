#ifndef PC_PORT_LINK_H
#define PC_PORT_LINK_H

/* The port's end of a zygote link (docs/protocol.md, section 6): packets out, packets and descriptors in. Never blocks. */

#include "port.h"

/* Queues ["fork", wid, payload] and sends what the socket takes. */
void pc_link_send_fork(struct pc_port *p, struct pc_zygote *z, uint32_t wid, const uint8_t *payload, size_t n);
void pc_link_flush(struct pc_port *p, struct pc_zygote *z);

/*
 * Takes the packets that are there. A zygote that breaks the protocol is killed: it runs the user's code, and what it says
 * after that means nothing.
 */
void pc_link_read(struct pc_port *p, struct pc_zygote *z);

/* The same for all that the socket can hold. */
void pc_link_drain(struct pc_port *p, struct pc_zygote *z);

void pc_link_close(struct pc_zygote *z);

#endif
