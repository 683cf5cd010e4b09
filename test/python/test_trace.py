"""The trace of a call, against a real worker: what its meta says (docs/protocol.md, section 1), in either format."""

from __future__ import annotations

import json
import struct
from typing import Any

import pitcrew
import pytest
from harness import Worker, recv_exactly, recv_frame, send_frame
from pitcrew import _core, trace

TOOLS = "trace_tools"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ask(worker: Worker, *behind: Any) -> Any:
    worker.last_id += 1
    send_frame(worker.call_socket, [_core.KIND_CALL, worker.last_id, "context", [], None, *behind])
    kind, id_, _, value = recv_frame(worker.call_socket)
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


def ask_in_json(worker: Worker, *behind: Any) -> Any:
    worker.last_id += 1
    text = json.dumps([_core.KIND_CALL, worker.last_id, "context", [], None, *behind], separators=(",", ":")).encode()
    worker.call_socket.sendall(struct.pack(">I", len(text)) + text)
    size = struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0]
    kind, id_, _, value = json.loads(recv_exactly(worker.call_socket, size))
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize(
    "meta",
    [
        {"traceparent": PARENT},
        {"tracestate": "a=b", "traceparent": PARENT},
        {"traceparent": PARENT, "tracestate": "a=b"},
    ],
)
def test_what_meta_says(tools, way, meta):
    worker = tools.worker()
    assert way(worker, meta) == meta
    assert way(worker, {"unknown": 1, **meta, "other": [meta]}, None) == meta
    assert way(worker) == {}


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize(
    "meta", [None, {}, {"tracestate": "a=b"}, {"traceparent": 1}, {"traceparent": None}, {"traceparent": [PARENT]}]
)
def test_what_is_no_trace_is_none(tools, way, meta):
    assert way(tools.worker(), meta) == {}


def test_a_text_that_is_no_utf8_is_none(tools):
    worker = tools.worker()
    payload = _core.encode([_core.KIND_CALL, 1, "context", [], None, {"traceparent": "@@"}]).replace(b"@@", b"\xff\xfe")
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
    assert recv_frame(worker.call_socket)[3] == {}


def test_outside_of_a_call_there_is_none():
    assert pitcrew.trace_context() == {}
    assert trace.trace_context is pitcrew.trace_context
