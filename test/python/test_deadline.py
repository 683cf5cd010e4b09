"""`pitcrew.deadline()`, against a real worker: the last field of a call's frame (docs/protocol.md, section 1)."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import pitcrew
import pytest
from harness import Worker, recv_exactly, recv_frame, send_frame
from pitcrew import _core

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
TOOLS = "deadline_tools"


def ask(worker: Worker, *behind: Any, tool: str = "left") -> Any:
    worker.last_id += 1
    send_frame(worker.call_socket, [_core.KIND_CALL, worker.last_id, tool, [], None, *behind])
    kind, id_, _, value = recv_frame(worker.call_socket)
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


def ask_in_json(worker: Worker, *behind: Any) -> Any:
    worker.last_id += 1
    text = json.dumps([_core.KIND_CALL, worker.last_id, "left", [], None, *behind], separators=(",", ":")).encode()
    worker.call_socket.sendall(struct.pack(">I", len(text)) + text)
    size = struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0]
    kind, id_, _, value = json.loads(recv_exactly(worker.call_socket, size))
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


@pytest.mark.parametrize("way", [ask, ask_in_json])
def test_what_is_left_is_what_the_clock_says(worker, way):
    asked = time.monotonic_ns()
    left = way(worker, None, asked + MINUTE) * SECOND
    assert asked + MINUTE - time.monotonic_ns() <= left <= MINUTE


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize("at", [0, -1, 1, -(2**63)])
def test_nothing_is_left_of_a_deadline_that_has_passed(worker, way, at):
    assert way(worker, None, at) == 0.0


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize(
    "behind", [[], [None], [None, None], [None, "soon"], [None, 2**63 - 1], [None, [1]], [None, 1.5]]
)
def test_no_deadline_is_none(worker, way, behind):
    assert way(worker, *behind) is None


def test_a_number_that_is_no_moment_is_none(worker):
    assert ask(worker, None, 2**64 - 1) is None
    assert ask_in_json(worker, None, 10**30) is None


def test_it_stands_behind_whatever_meta_is(worker):
    at = time.monotonic_ns() + MINUTE
    for meta in ({"keys": "strict"}, {"a": [1, {"b": [2]}]}, {}):
        assert 0.0 < ask(worker, meta, at) <= 60.0


def test_fields_behind_it_are_ignored(worker):
    assert 0.0 < ask(worker, None, time.monotonic_ns() + MINUTE, "more", {}) <= 60.0


def test_each_call_has_its_own(worker):
    assert 0.0 < ask(worker, None, time.monotonic_ns() + MINUTE) <= 60.0
    assert ask(worker, None, None) is None
    assert 60.0 < ask(worker, None, time.monotonic_ns() + 60 * MINUTE) <= 3600.0


def test_it_belongs_to_the_thread_that_runs_the_call(worker):
    elsewhere, here = ask(worker, None, time.monotonic_ns() + MINUTE, tool="left_elsewhere")
    assert elsewhere is None and 0.0 < here <= 60.0


def test_a_stop_hook_has_none(tools, worker):
    assert 0.0 < ask(worker, None, time.monotonic_ns() + MINUTE) <= 60.0
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert tools.read_out(1) == "between calls: None\n"


def test_outside_of_a_worker_there_is_none():
    assert pitcrew.deadline() is None
