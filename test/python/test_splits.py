"""Every split of a frame gives the same answers: a worker gets one part, and the rest when it has taken the first."""

from __future__ import annotations

import array
import fcntl
import json
import struct
import termios
from typing import Any

import pytest
from harness import CLOSED, Worker, recv_exactly, until
from pitcrew import _core

CALL = _core.KIND_CALL


@pytest.fixture
def tools(start):
    zygote = start("--start", "fork", "--tools", "worker_tools", "--tools", "json_tools")
    zygote.ready()
    return zygote


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def packed(*frame: Any) -> bytes:
    return framed(_core.encode([CALL, *frame]))


def text(*frame: Any) -> bytes:
    return framed(json.dumps([CALL, *frame], separators=(",", ":"), ensure_ascii=False).encode())


STREAMS = {
    "a call": (1, packed(1, "shape", [1, "é", 2.5, None], {"key": (1, 2)}, {"deadline_ms": 5})),
    "a call in JSON": (1, text(1, "shape", [1, "é", 2.5, None], {"key": [1, 2]}, None)),
    "calls that fail": (2, packed(1, "fail", ["it broke"], None, None) + packed(2, "add", [], None, None)),
    "a call of nothing in JSON": (1, text(1, "ecko", [], None, None)),
    "arguments that are no value": (1, framed(b"\x95\x03\x01\xa4echo\x91\xc1\xc0")),
    "a text that is no value": (1, framed(b'[3,1,"echo",[tru],null,null]')),
    "both formats": (
        3,
        packed(1, "add", [1, 2], None, None) + text(2, "add", [3], None, None) + packed(3, "no", [], None, None),
    ),
}


def is_taken(worker: Worker) -> bool:
    """Whether the worker has read everything that was sent."""
    left = array.array("i", [0])
    fcntl.ioctl(worker.call_socket, termios.TIOCOUTQ, left)
    return left[0] == 0


def ask(worker: Worker, parts: list[bytes], answers: int) -> list[Any]:
    for part in parts:
        worker.call_socket.sendall(part)
        assert until(lambda: is_taken(worker))
    return [answer(worker) for _ in range(answers)]


def answer(worker: Worker) -> Any:
    """Without the time that it took."""
    header = recv_exactly(worker.call_socket, 4)
    if header is None:
        return CLOSED
    payload = recv_exactly(worker.call_socket, struct.unpack(">I", header)[0])
    frame = json.loads(payload) if payload.startswith(b"[") else _core.decode(payload)
    del frame[2]
    return frame


@pytest.mark.parametrize(("answers", "stream"), STREAMS.values(), ids=STREAMS.keys())
def test_every_split_gives_the_same_answers(worker, answers, stream):
    whole = ask(worker, [stream], answers)
    assert CLOSED not in whole
    for cut in range(1, len(stream)):
        assert ask(worker, [stream[:cut], stream[cut:]], answers) == whole, f"cut at {cut}"
    assert ask(worker, [bytes([byte]) for byte in stream], answers) == whole
