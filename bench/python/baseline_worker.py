"""The worker of a hand-rolled bridge: an Erlang port with {packet, 4} and the msgpack package."""

from __future__ import annotations

import struct
import sys

import msgpack

TOOLS = {"echo": lambda value: value}


def main() -> None:
    read, write, flush = sys.stdin.buffer.read, sys.stdout.buffer.write, sys.stdout.buffer.flush
    while header := read(4):
        (size,) = struct.unpack(">I", header)
        call_id, tool, args = msgpack.unpackb(read(size))
        reply = msgpack.packb([call_id, TOOLS[tool](*args)])
        write(struct.pack(">I", len(reply)) + reply)
        flush()


if __name__ == "__main__":
    main()
