#ifndef PC_WIRE_BOARDS_H
#define PC_WIRE_BOARDS_H

/* The boards of both ends of a channel (segment.h). The VM makes both, and sends them in the first packet of the socket. */

#include "wire/segment.h"

struct pc_boards {
    struct pc_board *own; /* written here, about segments of the other end; children of this process do not have it */
    const struct pc_board *other; /* written there, about those of this end */
};

/* The VM. Nothing else may have been sent. 0, or -errno with nothing mapped. */
int pc_boards_send(int socket, struct pc_boards *b);

/* The worker. 0, or -errno with nothing mapped: -EAGAIN when they have not come, -EPROTO when something else has. */
int pc_boards_receive(int socket, struct pc_boards *b);

/* When both pc_segments_free and pc_views_free have been called. Again: nothing happens. */
void pc_boards_close(struct pc_boards *b);

#endif
