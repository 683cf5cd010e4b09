"""The VM's end of functions (docs/protocol.md section 3): calls that have one, what they call, and what that gives."""

from __future__ import annotations

import struct
from typing import Any

from harness import Worker, send_frame
from pitcrew import _core, packb
from pitcrew.terms import Ext

CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR
FUNCTION, ITERATOR = 12, 16


def send_payload(worker: Worker, payload: bytes) -> None:
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)


def begin(
    worker: Worker, tool: str, *args: Any, index: int = 0, meta: dict[str, Any] | None = None, kind: int = FUNCTION
) -> int:
    """Sends a call whose first argument is a function, or an iterator."""
    worker.last_id += 1
    frame = [CALL, worker.last_id, tool, [Ext(kind, packb(index)), *args], None, meta]
    send_payload(worker, packb(frame))
    return worker.last_id


def called(worker: Worker, id_: int, index: int = 0) -> tuple[int, list[Any], dict[str, Any] | None]:
    """The frame of the next call of its function: an id, args and kwargs."""
    frame = worker.answer()
    assert frame[0] == CALL, frame
    assert frame[2][:2] == [id_, index]
    return frame[1], *frame[3]


def give(worker: Worker, id_: int, value: Any) -> None:
    send_frame(worker.call_socket, [REPLY, id_, 0, value])


def fail(worker: Worker, id_: int, **fields: Any) -> None:
    send_frame(worker.call_socket, [ERROR, id_, 0, fields])
