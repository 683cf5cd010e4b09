"""`pitcrew.deadline()`, against a real worker: the last field of a call's frame (docs/protocol.md, section 1)."""

from __future__ import annotations

import time

import pitcrew
import pytest
from harness import ask, ask_in_json, send_frame
from pitcrew import _core

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
TOOLS = "deadline_tools"


@pytest.mark.parametrize("way", [ask, ask_in_json])
def test_what_is_left_is_what_the_clock_says(worker, way):
    asked = time.monotonic_ns()
    left = way(worker, "left", None, asked + MINUTE) * SECOND
    assert asked + MINUTE - time.monotonic_ns() <= left <= MINUTE


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize("at", [0, -1, 1, -(2**63)])
def test_nothing_is_left_of_a_deadline_that_has_passed(worker, way, at):
    assert way(worker, "left", None, at) == 0.0


@pytest.mark.parametrize("way", [ask, ask_in_json])
@pytest.mark.parametrize(
    "behind", [[], [None], [None, None], [None, "soon"], [None, 2**63 - 1], [None, [1]], [None, 1.5]]
)
def test_no_deadline_is_none(worker, way, behind):
    assert way(worker, "left", *behind) is None


def test_a_number_that_is_no_moment_is_none(worker):
    assert ask(worker, "left", None, 2**64 - 1) is None
    assert ask_in_json(worker, "left", None, 10**30) is None


def test_it_stands_behind_whatever_meta_is(worker):
    at = time.monotonic_ns() + MINUTE
    for meta in ({"keys": "strict"}, {"a": [1, {"b": [2]}]}, {}):
        assert 0.0 < ask(worker, "left", meta, at) <= 60.0


def test_fields_behind_it_are_ignored(worker):
    assert 0.0 < ask(worker, "left", None, time.monotonic_ns() + MINUTE, "more", {}) <= 60.0


def test_each_call_has_its_own(worker):
    assert 0.0 < ask(worker, "left", None, time.monotonic_ns() + MINUTE) <= 60.0
    assert ask(worker, "left", None, None) is None
    assert 60.0 < ask(worker, "left", None, time.monotonic_ns() + 60 * MINUTE) <= 3600.0


def test_it_belongs_to_the_thread_that_runs_the_call(worker):
    elsewhere, here = ask(worker, "left_elsewhere", None, time.monotonic_ns() + MINUTE)
    assert elsewhere is None and 0.0 < here <= 60.0


def test_a_stop_hook_has_none(tools, worker):
    assert 0.0 < ask(worker, "left", None, time.monotonic_ns() + MINUTE) <= 60.0
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert tools.read_out(1) == "between calls: None\n"


def test_outside_of_a_worker_there_is_none():
    assert pitcrew.deadline() is None
