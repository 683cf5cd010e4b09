"""Many calls at once in one worker (docs/protocol.md section 4), against a real one."""

import os
import random
import signal
import struct
import sys
import time
from collections import Counter

import pytest
from harness import recv_exactly, recv_frame, send_frame, until, wait_readable
from pitcrew import _core

MOST = 60
TOOLS = "crowd_tools"


@pytest.fixture
def worker(tools):
    return tools.worker(concurrency=MOST)


def answers(worker, ids):
    """The frames that answer these calls, in whatever order they come."""
    found = {}
    while set(found) != set(ids):
        frame = worker.answer()
        assert frame[1] in ids and frame[1] not in found, frame
        found[frame[1]] = frame
    return [found[id_] for id_ in ids]


def values(worker, ids):
    frames = answers(worker, ids)
    assert all(frame[0] == _core.KIND_REPLY for frame in frames), frames
    return [frame[3] for frame in frames]


def inside(tools, worker, tool, name, *args):
    id_ = worker.send(tool, [name, *args])
    assert tools.read_line(1) == f"inside {name}\n"
    return id_


def started(memory):
    return int.from_bytes(os.pread(memory, 8, 0), sys.byteorder)


def kind(frame):
    return frame[3]["kind"]


# ---- At once


@pytest.mark.parametrize("most", [1, 2, MOST])
def test_values_and_errors(tools, most):
    worker = tools.worker(concurrency=most)
    value = {"a": [1, 2.5, None, b"x" * 1000], "é": 2**80}
    for echo in ["echo", "echo_later", "wrapped"]:
        assert worker.call(echo, value) == value
    for fail in ["fail", "fail_later"]:
        fault = worker.fault(fail, "no")
        assert (fault["kind"], fault["type"], fault["message"]) == ("tool_error", "ValueError", "no")
        assert "crowd_tools.py" in fault["traceback"] and "python/pitcrew/" not in fault["traceback"]
        assert worker.fault(fail)["kind"] == "bad_arguments"
    assert worker.fault("leave", 3)["type"] == "SystemExit"
    assert worker.fault("nobody")["kind"] == "unknown_tool"
    assert worker.fault("cancel_itself")["type"] == "asyncio.exceptions.CancelledError"
    assert worker.call("which_loop") == worker.call("which_loop") == [True, True]


def test_coroutines_wait_at_once(worker):
    begin = time.monotonic()
    ids = [worker.send("sleep", [0.1]) for _ in range(MOST)]
    assert values(worker, ids) == [0.1] * MOST
    assert time.monotonic() - begin < 0.1 * MOST / 4


def test_threads_run_at_once(worker):
    assert values(worker, [worker.send("meet", [MOST]) for _ in range(MOST)]) == [MOST] * MOST
    names = {worker.call("thread_name") for _ in range(10)}
    assert all(name.startswith("pitcrew-") for name in names)


def test_answers_come_as_they_are_ready(tools, worker):
    slow = inside(tools, worker, "wait_in_c", "slow")
    later = inside(tools, worker, "catch_later", "later")
    assert worker.call("echo", 1) == 1
    assert worker.call("echo_later", 2) == 2
    opened = worker.send("open_gate", ["slow"])
    assert values(worker, [opened, slow]) == [None, "slow"]
    assert worker.ping()["started"] == later
    assert worker.cancel(later) == "started"
    assert answers(worker, [later])[0][3] == "caught"


def test_no_more_than_so_many_run(tools):
    worker = tools.worker(concurrency=2)
    first = inside(tools, worker, "wait_in_slices", "a")
    second = inside(tools, worker, "wait_later", "b")
    waiting = [worker.send("echo", [n]) for n in range(50)]
    assert worker.cancel(waiting[25]) == "unstarted"
    assert not wait_readable(worker.call_socket.fileno(), 0.05)
    assert worker.cancel(second) == "started"
    assert kind(answers(worker, [second, *waiting[:25], *waiting[26:]])[0]) == "cancelled"
    assert worker.cancel(first) == "started"
    assert kind(worker.answer()) == "cancelled"


@pytest.mark.parametrize("echo", ["echo", "echo_later"])
def test_they_start_in_the_order_of_their_ids(tools, echo):
    memory = os.memfd_create("started", os.MFD_CLOEXEC)
    os.truncate(memory, 4096)
    worker = tools.worker(fds=[memory], started=True, concurrency=4)
    for _ in range(50):
        ids = [worker.send(echo, [n]) for n in range(40)]
        for _ in ids:
            frame = worker.answer()
            assert frame[0] == _core.KIND_REPLY and frame[1] <= started(memory)
        assert started(memory) == ids[-1]
    os.close(memory)


def test_calls_for_which_no_thread_can_be_started_are_refused(worker):
    worker.call("let_threads_start", False)
    for _ in range(2):
        assert worker.fault("echo", 1)["message"] == "can't start new thread"
        assert worker.call("echo_later", 2) == 2
    worker.call("let_threads_start", True)
    assert worker.call("echo", 3) == 3


def test_calls_wait_for_the_threads_that_there_are(tools, worker):
    first = inside(tools, worker, "wait_in_slices", "a")
    worker.call("let_threads_start", False)
    later = [worker.send("echo", [n]) for n in range(3)]
    assert worker.call("echo_later", 1) == 1
    assert worker.cancel(first) == "started"
    assert kind(worker.answer()) == "cancelled"
    assert values(worker, later) == [0, 1, 2]


def test_large_frames_both_ways(worker):
    """More than any buffer holds, on threads and on the loop, while the other end reads nothing at first."""
    data = [bytes([n]) * (8 << 20) for n in range(8)]
    ids = [worker.send(("echo", "echo_later")[n % 2], [piece]) for n, piece in enumerate(data)]
    small = [worker.send("echo", [n]) for n in range(20)]
    assert values(worker, [*ids, *small]) == [*data, *range(20)]


def test_json(worker):
    payloads = [f'[3,{n},"{tool}",[[1,2]],null]'.encode() for n, tool in [(1, "echo"), (2, "echo_later")]]
    worker.call_socket.sendall(b"".join(struct.pack(">I", len(p)) + p for p in payloads))
    texts = set()
    for _ in payloads:
        (n,) = struct.unpack(">I", recv_exactly(worker.call_socket, 4))
        texts.add(recv_exactly(worker.call_socket, n).decode()[:4])
    worker.last_id = 2
    assert texts == {"[4,1", "[4,2"}


def test_each_call_has_a_context_of_its_own(worker):
    for change in ["a", "b"]:
        assert worker.call("change_var", change) == "hook"
        assert worker.call("change_var_later", change) == ["hook", change]


def test_a_tool_that_stops_the_loop(worker):
    assert worker.call("stop_loop") == "went on"
    assert worker.call("echo_later", 1) == 1


@pytest.mark.parametrize("most", [1, MOST])
def test_a_loop_whose_tasks_begin_at_once(start, most):
    """And may end there. Memory that is freed is overwritten, so that nothing goes on there."""
    zygote = start("--start", "fork", "--tools", TOOLS, env={"PYTHONMALLOC": "debug"})
    zygote.ready()
    worker = zygote.worker(concurrency=most)
    worker.call("begin_tasks_at_once")
    assert [worker.call("echo_at_once", n) for n in range(20)] == list(range(20))
    assert worker.call("echo_later", 1) == worker.call("echo", 1) == 1


def test_shutdown_runs_stop_hooks(tools, worker):
    assert worker.call("echo", 1) == worker.call("echo_later", 1) == 1
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert worker.answer() == "closed"
    assert tools.read_line(1) == "stopped\n"
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


@pytest.mark.parametrize("tool", ["echo", "echo_later"])
def test_end_of_file_ends_the_worker(tools, worker, tool):
    assert worker.call(tool, 1) == 1
    inside(tools, worker, "wait_in_c", "never")
    worker.call_socket.close()
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_the_last_calls_end_when_nobody_is_there_any_more(start):
    """The loop is left with something to call when it runs again, for a hook. Memory that is freed is overwritten."""
    zygote = start("--start", "fork", "--tools", TOOLS, env={"PYTHONMALLOC": "debug"})
    zygote.ready()
    worker = zygote.worker(concurrency=2)
    for name in ["a", "b"]:
        inside(zygote, worker, "wait_for_signal", name)
    worker.call_socket.close()
    os.kill(worker.pid, signal.SIGUSR1)
    assert zygote.expect("exit", 1)[3:5] == ["exit", 0]
    assert zygote.read_out(1) == "stopped\n"


def test_stop_hooks_run_to_their_end_where_a_call_has_not_begun(tools, worker):
    """The end of such a call must not stop the loop, which the hook runs next."""
    assert worker.call("echo_later", 1) == 1
    inside(tools, worker, "wait_in_c", "never")
    worker.call("let_threads_start", False)
    worker.send("echo", [1])
    assert worker.call("echo_later", 2) == 2
    worker.call_socket.close()
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]
    assert tools.read_out(1) == "stopped\n"


@pytest.mark.parametrize("tool", ["fork_and_return", "fork_later"])
def test_a_process_that_a_tool_forks_does_not_serve(worker, tool):
    assert worker.call(tool) == 1
    assert worker.call("echo", 1) == worker.call("echo_later", 1) == 1


# ---- Cancelled


@pytest.mark.parametrize(
    ("tool", "expected"),
    [("wait_in_slices", ["cancelled x", "finally x"]), ("wait_later", ["cancelled x True", "finally x"])],
)
@pytest.mark.parametrize("most", [1, MOST])
def test_finally_runs_and_the_others_go_on(tools, most, tool, expected):
    worker = tools.worker(concurrency=most)
    other = [inside(tools, worker, "catch", "other")] if most > 1 else []
    id_ = inside(tools, worker, tool, "x")
    assert worker.cancel(id_) == "started"
    frame = worker.answer()
    assert frame[1] == id_ and kind(frame) == "cancelled" and frame[3]["type"] == "Cancelled"
    assert worker.call("what_was_seen") == expected
    assert worker.cancel(id_) == "ended"
    for caught in other:
        assert worker.cancel(caught) == "started"
        assert answers(worker, [caught])[0][3] == "caught"


@pytest.mark.parametrize("most", [1, MOST])
def test_a_tool_that_catches_it_answers(tools, most):
    worker = tools.worker(concurrency=most)
    for tool in ["catch", "catch_later"]:
        id_ = inside(tools, worker, tool, "x")
        assert worker.cancel(id_) == "started"
        assert answers(worker, [id_])[0][3] == "caught"


def test_a_coroutine_that_was_begun_at_once(tools, worker):
    worker.call("begin_tasks_at_once")
    id_ = inside(tools, worker, "catch_later", "x")
    assert worker.cancel(id_) == "started"
    assert answers(worker, [id_])[0][3] == "caught"


@pytest.mark.parametrize("most", [1, MOST])
def test_what_a_coroutine_waits_for_is_cancelled_too(tools, most):
    worker = tools.worker(concurrency=most)
    id_ = worker.send("gather")
    assert sorted(tools.read_line(1) for _ in range(3)) == [f"inside child {n}\n" for n in range(3)]
    assert worker.cancel(id_) == "started"
    assert kind(answers(worker, [id_])[0]) == "cancelled"
    assert worker.call("what_was_seen") == ["child 0", "child 1", "child 2"]


@pytest.mark.parametrize("most", [1, MOST])
def test_a_coroutine_that_blocks_the_loop(tools, most):
    worker = tools.worker(concurrency=most)
    id_ = worker.send("block")
    assert tools.read_line(1) == "inside block\n"
    assert worker.cancel(id_) == "started"
    assert kind(answers(worker, [id_])[0]) == "cancelled"
    assert worker.call("what_was_seen") == ["unblocked"]


def test_a_thread_in_c_gets_it_when_it_comes_back(tools, worker):
    id_ = inside(tools, worker, "write_in_c", "x")
    assert worker.cancel(id_) == "started"
    assert worker.call("echo", 1) == worker.call("echo_later", 1) == 1
    assert worker.ping()["started"] == id_
    assert set(tools.read_line(1)) == {".", "\n"}
    assert kind(answers(worker, [id_])[0]) == "cancelled"
    assert worker.call("thread_name").startswith("pitcrew-")


def test_a_held_gil_is_told(tools, worker):
    id_ = inside(tools, worker, "write_with_the_gil", "x")
    assert [worker.cancel(id_) for _ in range(3)] == ["started", "held", "held"]
    assert worker.ping()["started"] == id_
    assert set(tools.read_line(1)) == {".", "\n"}
    assert answers(worker, [id_])[0][1] == id_  # cancelled, or ended before anybody had the GIL
    assert worker.call("echo", 1) == 1


# ---- Vitals

IN_C, MEMORY, TRIM = 1, 2, 4


@pytest.mark.parametrize("echo", ["echo", "echo_later"])
def test_memory_is_given_back_while_calls_run(tools, worker, echo):
    assert worker.call(echo, 1) == 1
    running = inside(tools, worker, "catch", "x")
    assert worker.ping(asks=TRIM)["trims"] == 0
    assert until(lambda: worker.ping(asks=MEMORY)["trims"] == 1)
    assert worker.cancel(running) == "started"
    assert answers(worker, [running])[0][3] == "caught"


@pytest.mark.parametrize("echo", ["echo", "echo_later"])
def test_only_a_held_gil_counts_as_c(tools, worker, echo):
    assert worker.call(echo, 1) == 1
    waiting = inside(tools, worker, "wait_in_c", "x")
    worker.ping(asks=IN_C)
    assert until(lambda: worker.ping(asks=IN_C)["in_c_ms"] == 0)
    holding = inside(tools, worker, "write_with_the_gil", "y")
    assert until(lambda: worker.ping(asks=IN_C)["in_c_ms"] > 10)
    assert set(tools.read_line(1)) == {".", "\n"}
    assert until(lambda: worker.ping(asks=IN_C)["in_c_ms"] == 0)
    opened = worker.send("open_gate", ["x"])
    assert values(worker, [holding, opened, waiting])[2] == "x"


# ---- Unharmed


def test_only_to_be_moved(tools, worker):
    id_ = inside(tools, worker, "wait_in_c", "x")
    send_frame(worker.side_socket, [_core.KIND_CANCEL, id_, False])
    assert recv_frame(worker.side_socket)[2] == "running"
    worker.send("open_gate", ["x"])
    assert {worker.answer()[0] for _ in range(2)} == {_core.KIND_REPLY}


@pytest.mark.parametrize("tool", ["busy", "sleep"])
def test_thousands_of_cancels_around_the_ends_of_calls(worker, tool):
    """Half the calls are cancelled about when they end. No other call may notice."""
    rng = random.Random(6)
    seen = Counter()
    rounds = 500
    worker.call("switch_every", 1e-4)
    for _ in range(rounds):
        ids = [worker.send(tool, [0.001]) for _ in range(4)]
        time.sleep(rng.uniform(0, 0.004))
        states = {id_: worker.cancel(id_) for id_ in ids[::2]}
        due = [id_ for id_ in ids if states.get(id_) != "unstarted"]
        for frame in answers(worker, due):
            interrupted = frame[0] == _core.KIND_ERROR
            if interrupted:
                assert kind(frame) == "cancelled" and states[frame[1]] in ("started", "held"), frame
            seen[states.get(frame[1]), interrupted] += 1
    assert seen[None, False] == 2 * rounds and seen[None, True] == 0, seen
    assert seen["started", True] > 0 < seen["ended", False], seen
