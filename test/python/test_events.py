"""Events of telemetry, against a real worker: frames (docs/protocol.md section 4), credit; and without a VM."""

from __future__ import annotations

import decimal
import fractions
import time
from typing import Any

import numpy
import pitcrew
import pytest
from harness import Worker, recv_frame, send_frame
from pitcrew import _core, events, registry

TOOLS = "event_tools"
EVENT, STATS, CREDIT = _core.KIND_EVENT, _core.KIND_STATS, _core.KIND_CREDIT


def told(worker: Worker) -> list[Any]:
    frame = recv_frame(worker.side_socket)
    assert frame[0] in (EVENT, STATS)
    return frame


@pytest.fixture
def emitting(tools):
    return lambda credit=100: tools.worker(events=credit)


def test_the_frame(emitting):
    worker = emitting()
    kind, id_, name, tool, at, duration, data, traceparent = told(worker)  # of its start hook
    assert (kind, id_, name, tool, duration) == (EVENT, 0, ["pitcrew", "started"], None, None) and traceparent is None
    begin = time.monotonic_ns()
    assert worker.call("emit", "a.b", {"n": 1, "m": 2.5}, {"x": [None, "y"]}) is True
    kind, id_, name, tool, at, duration, data, traceparent = told(worker)
    assert (kind, id_, name, tool, duration) == (EVENT, worker.last_id, ["a", "b"], "emit", None)
    assert begin <= at <= time.monotonic_ns()
    assert _core.decode(data) == [{"n": 1, "m": 2.5}, {"x": [None, "y"]}]


def test_what_is_declared_is_in_ready(emitting):
    declared = {tuple(event["name"]): event for event in emitting().first[2]["events"]}
    assert declared["fixture", "declared"]["measurements"] == ["only_declared"]
    assert declared["fixture", "declared"]["metadata"] == ["also_declared"]
    assert ("fixture", "of_tool") in declared
    assert declared["pitcrew", "traced", "stop"]["measurements"] == ["duration"]
    assert declared["pitcrew", "traced", "exception"]["metadata"] == ["kind", "message", "type"]


def test_credit_and_drops(emitting):
    worker = emitting(1)
    assert told(worker)[2] == ["pitcrew", "started"]
    count = 10_000
    taken, _ = worker.call("flood", count)
    assert 0 < taken < count
    assert worker.call("emit", "a") is False  # and still nothing waits
    send_frame(worker.side_socket, [CREDIT, 0, 1_000])  # that is for records of logging
    send_frame(worker.side_socket, [CREDIT, EVENT, 2])
    numbers = [_core.decode(told(worker)[6])[0]["count"] for _ in range(2)]
    assert numbers == [0, 1]
    assert told(worker) == [STATS, EVENT, {"dropped": count - taken + 1}]
    send_frame(worker.side_socket, [CREDIT, EVENT, count])
    numbers = [_core.decode(told(worker)[6])[0]["count"] for _ in range(taken - 2)]
    assert numbers == list(range(2, taken))


def test_without_credit_nothing_is_sent(tools):
    worker = tools.worker()
    assert worker.call("emit", "a.b") is False
    worker.ping()  # the next frame on the side channel


# ---- Without a worker


def test_what_is_no_event_is_an_exception_and_what_is_one_goes_nowhere():
    assert pitcrew.emit("a.b", {"n": 1}, {"x": 1}) is False
    assert pitcrew.emit(name=["a", "b"], metadata={}, measurements={}) is False
    for wrong in ((), ("a", {}, {}, {}), (None,), ("a", {"n": "1"}), ("a", {"n": 1e999}), ("a", {}, {"x": object()})):
        with pytest.raises((TypeError, ValueError, pitcrew.EncodeError)):
            pitcrew.emit(*wrong)
    for wrong in ({"nam": "a"}, {"name": "a", "mesurements": {}}, {"measurements": {}}):
        with pytest.raises(TypeError):
            pitcrew.emit(**wrong)
    with pytest.raises(TypeError):
        pitcrew.emit("a", name="a")


def test_numbers_of_any_kind():
    numbers = {
        "int64": numpy.int64(3),
        "float32": numpy.float32(0.5),
        "decimal": decimal.Decimal("1.5"),
        "fraction": fractions.Fraction(1, 2),
        "large": 1 << 80,
    }
    assert pitcrew.emit("a", numbers) is False
    assert events.usual_measurements(numbers) == {
        "int64": 3,
        "float32": 0.5,
        "decimal": 1.5,
        "fraction": 0.5,
        "large": 1 << 80,
    }
    for wrong in (numpy.bool_(True), decimal.Decimal("nan"), b"1", None, 1j):
        with pytest.raises((TypeError, ValueError)):
            pitcrew.emit("a", {"n": wrong})


def test_the_name_of_an_event_is_learnt_once_and_forgotten_in_time():
    for n in range(5000):
        assert pitcrew.emit(f"a.b{n}") is False
    assert pitcrew.emit("a.b0") is False


class Name(str):
    def __hash__(self) -> int:
        raise RuntimeError("no hash")


def test_odd_arguments_do_no_harm():
    with pytest.raises(RuntimeError):
        pitcrew.emit(Name("a"))
    measurements: dict[str, Any] = {"n": 1}

    class Number:
        def __index__(self) -> int:
            measurements.clear()
            return 1

    measurements |= {f"m{n}": Number() for n in range(100)}
    pitcrew.emit("a", measurements)
    with pytest.raises(TypeError):
        pitcrew.emit([["a"]])


def test_spans_check_their_metadata_and_are_used_by_the_thread_that_has_them():
    with pytest.raises(ValueError, match="pool"):
        pitcrew.span("a", pool=1)
    with pytest.raises(ValueError, match="duration"), pitcrew.span("a") as span:
        span.measure(duration=1)
    with pytest.raises(ZeroDivisionError), pitcrew.span(["a", "b"], x=1):
        print(1 // 0)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_the_exception_that_leaves_a_span_is_the_one_that_was_raised():
    with pytest.raises(Unprintable), pitcrew.span("a"):
        raise Unprintable
    with pytest.raises(LookupError), pitcrew.span("a"):
        raise LookupError("\ud800")


def test_traced_keeps_what_a_function_is():
    @pitcrew.traced
    def function(a: int, *, b: int = 2) -> int:
        """Its text."""
        return a + b

    assert function(1) == 3
    assert function.__doc__ == "Its text."
    with pytest.raises(TypeError, match="function is needed"):
        pitcrew.traced(3)
    with pytest.raises(ValueError, match="pool"):
        pitcrew.traced(name="a", pool=1)(print)
    assert (__name__, "test_traced_keeps_what_a_function_is", "function", "stop") in registry.events


@pytest.mark.parametrize("wrong", ["", "a..b", ["a", ""], ["a", 1], 3, "x" * 65, ["a"] * 17, "event"])
def test_a_declaration_is_checked(wrong):
    with pytest.raises((TypeError, ValueError)):
        pitcrew.declare_event(wrong)
    with pytest.raises((TypeError, ValueError)):
        pitcrew.tool(name="never", events=[wrong])(print)
    assert "never" not in registry.tools
