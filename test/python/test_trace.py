"""The trace of a call, against a real worker: what its meta says (docs/protocol.md, section 1), in either format."""

from __future__ import annotations

import struct

import pitcrew
import pytest
from harness import ask, ask_in_json, recv_frame
from pitcrew import _core, trace

TOOLS = "trace_tools"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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
    assert way(worker, "context", meta) == meta
    assert way(worker, "context", {"unknown": 1, **meta, "other": [meta]}, None) == meta
    assert way(worker, "context") == {}


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize(
    "meta", [None, {}, {"tracestate": "a=b"}, {"traceparent": 1}, {"traceparent": None}, {"traceparent": [PARENT]}]
)
def test_what_is_no_trace_is_none(tools, way, meta):
    assert way(tools.worker(), "context", meta) == {}


def test_a_text_that_is_no_utf8_is_none(tools):
    worker = tools.worker()
    payload = _core.encode([_core.KIND_CALL, 1, "context", [], None, {"traceparent": "@@"}]).replace(b"@@", b"\xff\xfe")
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
    assert recv_frame(worker.call_socket)[3] == {}


def test_outside_of_a_call_there_is_none():
    assert pitcrew.trace_context() == {}
    assert trace.trace_context is pitcrew.trace_context
