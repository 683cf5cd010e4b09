#ifndef PC_CODEC_EXT_H
#define PC_CODEC_EXT_H

/* MessagePack extension codes of Pitcrew: the only definition; docs/protocol.md describes payloads. */
enum pc_ext {
    PC_EXT_TIMESTAMP = -1,
    PC_EXT_ATOM = 1,
    PC_EXT_BIGINT = 2,
    PC_EXT_TUPLE = 3,
    PC_EXT_SET = 4,
    PC_EXT_DATE = 5,
    PC_EXT_TIME = 6,
    PC_EXT_NAIVE_DATETIME = 7,
    PC_EXT_DATETIME = 8,
    PC_EXT_DECIMAL = 9,
    PC_EXT_TENSOR = 10,
    PC_EXT_ARROW = 11,
    PC_EXT_FUNCTION = 12,
    PC_EXT_OPAQUE = 13,
    PC_EXT_REF = 14,
    PC_EXT_SEGMENT = 15,
    PC_EXT_ITERATOR = 16,
};

#endif
