"""The VM's end of the memory that it shares with a worker (docs/protocol.md, Segments), in Python: every byte of it."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
from typing import Any

import pitcrew
from harness import CLOSED, HELLO, Worker, Zygote, recv_exactly
from pitcrew import _core

BIN, STR, ARROW = range(3)
BOARDS, NEW, FORGET = range(3)
LEAST = 64 * 1024
PAGE = 4096
MOST = 1 << 26

F_ADD_SEALS, F_GET_SEALS = 1033, 1034
SEAL_SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE, EXEC = 1, 2, 4, 8, 16, 32
WRITTEN = SEAL_SEAL | SHRINK | GROW | FUTURE_WRITE

PACKET = struct.Struct("=IIQ")
NAME = struct.Struct(">IIQ")


def memory(size: int, seals: int = WRITTEN) -> tuple[int, mmap.mmap]:
    """A descriptor, and what is mapped from it, writable; all pages are there."""
    fd = os.memfd_create("segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    mapped = mmap.mmap(fd, size)
    mapped[:] = bytes(size)
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd, mapped


class Name(pitcrew.Ext):
    """A payload that is in a segment."""

    def __new__(cls, kind: int, index: int, generation: int, n: int) -> Any:
        return pitcrew.Ext(15, bytes([kind]) + NAME.pack(index, generation, n))


def footer_of(names: list[Any]) -> bytes:
    """The end of a frame that has them."""
    together = b"".join(name.data[1:] for name in names)
    return b"\xc6" + struct.pack(">I", len(together)) + together + b"\xce" + struct.pack(">I", len(names))


class Shared:
    """The VM's end: writes segments of its own, and reads those of the worker."""

    def __init__(self, boards: bool = True) -> None:
        self.socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        self.theirs.setblocking(False)
        self.board_fd, self.board = memory(PAGE)
        self.worker_board_fd, self.worker_board = memory(PAGE, SEAL_SEAL | SHRINK | GROW)
        if boards:
            self.send_boards()
        self.written: dict[int, mmap.mmap] = {}
        self.generations: dict[int, int] = {}
        self.seen: dict[int, mmap.mmap] = {}  # of the worker's
        self.packets: list[tuple[int, int, int]] = []

    def send(self, kind: int, index: int, size: int, fds: list[int] | None = None) -> None:
        socket.send_fds(self.socket, [PACKET.pack(kind, index, size)], fds or [])

    def send_boards(self) -> None:
        self.send(BOARDS, 0, PAGE, [self.board_fd, self.worker_board_fd])

    # Ours

    def segment(self, index: int, size: int) -> mmap.mmap:
        fd, mapped = memory(size)
        self.send(NEW, index, size, [fd])
        os.close(fd)
        self.written[index] = mapped
        return mapped

    def write(self, data: bytes, kind: int = BIN, index: int = 0) -> Any:
        """The extension for it, in a new use of the segment."""
        if index not in self.written:
            self.segment(index, -(-max(len(data), LEAST) // PAGE) * PAGE)
        self.generations[index] = self.generations.get(index, 0) + 1
        self.written[index][: len(data)] = data
        return Name(kind, index, self.generations[index], len(data))

    def done(self, index: int = 0) -> bool:
        """Whether the worker has let go of the last use."""
        (said,) = struct.unpack_from("=I", self.worker_board, 4 * index)
        assert said <= self.generations[index]
        return said == self.generations[index]

    # The worker's

    def receive(self) -> None:
        """Everything that it has sent; each descriptor is checked."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 64, 4)
            except BlockingIOError:
                return
            if not data:
                return
            kind, index, size = PACKET.unpack(data)
            self.packets.append((kind, index, size))
            if kind == FORGET:
                assert fds == []
                self.seen.pop(index).close()
                continue
            (fd,) = fds
            assert kind == NEW
            assert fcntl.fcntl(fd, F_GET_SEALS) | EXEC == WRITTEN | EXEC  # the last is of new systems
            assert os.fstat(fd).st_size == size and size % PAGE == 0
            self.seen[index] = mmap.mmap(fd, size, prot=mmap.PROT_READ)
            os.close(fd)

    def names(self, value: Any) -> tuple[int, int, int, int]:
        """kind, index, generation and length of an extension."""
        assert type(value) is pitcrew.Ext and value.type == 15 and len(value.data) == 17
        return value.data[0], *NAME.unpack(value.data[1:])

    def read(self, value: Any) -> tuple[int, bytes]:
        """The kind and the bytes that an extension of the worker's stands for."""
        self.receive()
        kind, index, generation, n = self.names(value)
        assert generation > 0
        return kind, self.seen[index][:n]

    def let_go(self, value: Any) -> None:
        _, index, generation, _ = self.names(value)
        struct.pack_into("=I", self.board, 4 * index, generation)

    def close(self) -> None:
        for mapped in (self.board, self.worker_board, *self.written.values(), *self.seen.values()):
            mapped.close()
        os.close(self.board_fd)
        os.close(self.worker_board_fd)
        self.socket.close()
        self.theirs.close()


class Frame:
    """An answer, as it came."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.fields = pitcrew.unpackb(payload, strict_map_key=False)

    @property
    def value(self) -> Any:
        assert self.fields[0] == _core.KIND_REPLY, self.fields
        return self.fields[3]

    @property
    def fault(self) -> dict[str, Any]:
        assert self.fields[0] == _core.KIND_ERROR, self.fields
        return self.fields[3]

    @property
    def footer(self) -> list[tuple[int, int, int]]:
        """The names at its end, whose form is checked."""
        assert len(self.fields) == 7
        names, count = self.fields[5:]
        assert len(names) == 16 * count
        assert self.payload.endswith(
            b"\xc6" + struct.pack(">I", 16 * count) + names + b"\xce" + struct.pack(">I", count)
        )
        return list(NAME.iter_unpack(names))


class Sharer:
    """A worker that shares memory with us."""

    def __init__(
        self, zygote: Zygote, wid: int = 1, most: int = MOST, started: int | None = None, **hello: Any
    ) -> None:
        """`started`: the descriptor of the memory of that name."""
        self.vm = Shared()
        fds = [self.vm.theirs.fileno()] if started is None else [started, self.vm.theirs.fileno()]
        hello = {"buffers": {"max": most}, "started": started is not None, **hello}
        self.worker: Worker = zygote.worker(wid, fds=fds, **hello)
        self.vm.theirs.close()
        assert self.worker.first[0] == _core.KIND_READY, self.worker.first

    def send(self, tool: str, args: list[Any], kwargs: Any = None, names: list[Any] | None = None) -> int:
        """With the footer, if there is a name among them; `names` are those that it has instead."""
        if names is None:
            names = list(found(args)) + list(found(kwargs))
        self.worker.last_id += 1
        frame = [_core.KIND_CALL, self.worker.last_id, tool, args, kwargs, None, None]
        payload = bytearray(pitcrew.packb(frame))
        if names:
            payload[0] += 2
            payload += footer_of(names)
        self.worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
        return self.worker.last_id

    def answer(self) -> Frame:
        header = recv_exactly(self.worker.call_socket, 4)
        assert header is not None, CLOSED
        payload = recv_exactly(self.worker.call_socket, struct.unpack(">I", header)[0])
        assert payload is not None
        return Frame(payload)

    def ask(self, tool: str, *args: Any, **kwargs: Any) -> Frame:
        id_ = self.send(tool, list(args), kwargs or None)
        frame = self.answer()
        assert frame.fields[1] == id_
        return frame

    def call(self, tool: str, *args: Any, **kwargs: Any) -> Any:
        return self.ask(tool, *args, **kwargs).value

    def done(self, index: int = 0) -> bool:
        return self.vm.done(index)


def found(value: Any) -> Any:
    """The names in a value."""
    if type(value) is pitcrew.Ext:
        if value.type == 15:
            yield value
        elif value.type == 10:
            yield from found(pitcrew.unpackb(value.data))
        elif value.type in (3, 4):
            yield from found(pitcrew.unpackb(value.data))
    elif isinstance(value, dict):
        for item in value.values():
            yield from found(item)
    elif isinstance(value, list):
        for item in value:
            yield from found(item)


def tensor(dtype: str, shape: list[int], data: Any) -> Any:
    return pitcrew.Ext(10, pitcrew.packb([dtype, shape, data]))


assert HELLO["protocol"] == _core.PROTOCOL
