#ifndef PC_WIRE_KINDS_H
#define PC_WIRE_KINDS_H

/* Frame kinds (PC_KIND_CALL, …) and the version of the protocol they belong to. */

enum pc_kind {
#define X(name, number) PC_KIND_##name = (number),
#include "kinds.def"
#undef X
};

enum { PC_PROTOCOL_VERSION = 1 };

/* Bytes of the big-endian length in front of every frame. */
enum { PC_FRAME_HEADER = 4 };

#endif
