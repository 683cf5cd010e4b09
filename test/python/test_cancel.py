"""Cancelling (docs/protocol.md section 4), against a real worker: what becomes of the call, and of no other."""

import os
import random
import signal
import struct
import time
from collections import Counter
from unittest.mock import ANY

import pytest
from harness import Failed, recv_exactly, recv_frame, run_python, send_frame, wait_readable
from pitcrew import Cancelled, _core

KIND_NOBODY_KNOWS = 99
CANCELLED = {"kind": "cancelled", "type": "Cancelled", "message": "the call was cancelled"}


@pytest.fixture
def tools(start, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    zygote = start("--start", "fork", "--tools", "cancel_tools", env={"PITCREW_TEST_FIFO": str(tmp_path / "fifo")})
    assert zygote.ready()["start"] == "fork"
    return zygote


def is_cancelled(frame, id_):
    assert frame[:2] == [_core.KIND_ERROR, id_], frame
    return frame[3] == {**CANCELLED, "traceback": None, "path": None}


def inside(tools, worker, name, *args):
    """Calls a tool that says when it has come to where it waits."""
    id_ = worker.send(name, list(args))
    assert tools.read_line(1) == "inside\n"
    return id_


# ---- The call that runs


@pytest.mark.parametrize("tool", ["loop", "receive", "acquire", "join", "subprocess", "asynchronous"])
def test_whatever_a_tool_does_is_interrupted(worker, tool):
    id_ = worker.running(tool)
    assert worker.cancel(id_) == "started"
    assert is_cancelled(worker.answer(), id_)
    assert worker.call("run", "next") == "next"


def test_finally_runs_and_the_worker_stays(tools, worker):
    id_ = inside(tools, worker, "sleep", 3600)
    assert worker.cancel(id_) == "started"
    assert is_cancelled(worker.answer(), id_)
    assert worker.call("cleaned_up") == ["sleep"]


def test_an_answer_in_json(worker):
    payload = b'[3,7,"loop",[],null]'
    worker.call_socket.sendall(len(payload).to_bytes(4, "big") + payload)
    while worker.ping()["started"] != 7:
        pass
    assert worker.cancel(7) == "started"
    (n,) = struct.unpack(">I", recv_exactly(worker.call_socket, 4))
    text = recv_exactly(worker.call_socket, n).decode()
    assert text.startswith("[5,7,") and '"kind":"cancelled"' in text


def test_except_exception_lets_it_through(tools, worker):
    id_ = inside(tools, worker, "shrug_off_exceptions")
    assert worker.cancel(id_) == "started"
    assert is_cancelled(worker.answer(), id_)
    assert not issubclass(Cancelled, Exception) and "finally" in Cancelled.__doc__


def test_a_tool_that_catches_it_answers(tools, worker):
    id_ = inside(tools, worker, "catch", {"so": "far"})
    assert worker.cancel(id_) == "started"
    assert worker.answer()[3] == {"so": "far"}
    assert worker.cancel(id_) == "ended"


def test_each_cancel_interrupts_once(tools, worker):
    id_ = inside(tools, worker, "catch_twice")
    assert worker.cancel(id_) == "started"
    assert tools.read_line(1) == "inside\n"
    assert worker.cancel(id_) == "started"
    assert worker.answer()[3] == 2


def test_an_exception_of_the_tools_own_is_told_as_such(tools, worker):
    id_ = inside(tools, worker, "raise_another")
    assert worker.cancel(id_) == "started"
    fault = worker.answer()[3]
    assert (fault["kind"], fault["type"], fault["message"]) == ("tool_error", "ValueError", "the file is half written")
    assert "pitcrew.Cancelled: the call was cancelled" in fault["traceback"]


def test_it_is_answered_at_once_while_a_tool_holds_the_gil(worker):
    id_ = worker.running("hold_gil", 10**12)
    assert worker.cancel(id_) == "started"
    assert worker.ping() == {"started": id_}
    assert not wait_readable(worker.call_socket.fileno(), 0), "C code that does not ask is not interrupted"


def test_the_encoding_of_a_result_is_not_interrupted(tools, worker, tmp_path):
    id_ = worker.send("slow_result")
    assert tools.read_line(1) == "encoding\n"
    assert worker.cancel(id_) == "ended"
    assert worker.ping() == {"started": 0}
    os.kill(worker.pid, signal.SIGURG)
    (tmp_path / "fifo").write_text("whole")
    assert worker.answer()[3] == "whole"


def test_a_forked_child_is_not_interrupted(tools, worker):
    id_ = inside(tools, worker, "fork_while_an_interrupt_waits")
    assert worker.cancel(id_) == "started"
    assert worker.answer()[3] == "left alone"


def test_a_handler_of_the_tools_own_runs_instead(tools, worker):
    id_ = inside(tools, worker, "own_handler")
    assert worker.cancel(id_) == "started"
    assert worker.answer()[3] == "my own"


def test_a_signal_that_nobody_of_ours_has_sent_does_nothing(worker):
    assert worker.call("signal_myself") == "nothing happened"


# ---- The call that does not run


def test_a_call_that_waits_never_runs_and_is_not_answered(worker):
    first = worker.running("loop")
    ids = {name: worker.send("run", [name]) for name in "abcde"}
    assert [worker.cancel(ids[name]) for name in "dbd"] == ["unstarted"] * 3
    assert worker.ping() == {"started": first}
    assert worker.cancel(first) == "started"
    assert is_cancelled(worker.answer(), first)
    assert [worker.answer()[1] for _ in "ace"] == [ids[name] for name in "ace"]
    assert worker.call("what_ran") == ["a", "c", "e"]
    assert worker.cancel(ids["d"]) == "ended"


def test_a_cancel_may_overtake_its_call(worker):
    assert worker.cancel(2) == "unstarted"
    assert worker.cancel(3) == "unstarted"
    assert worker.call("run", "a") == "a"
    for name in "bcd":
        worker.send("run", [name])
    assert worker.answer()[1] == 4
    assert worker.call("what_ran") == ["a", "d"]


def test_a_call_that_would_be_refused_is_not_answered_either(worker):
    assert [worker.cancel(id_) for id_ in (1, 2, 3)] == ["unstarted"] * 3
    worker.send("nobody_knows_it")
    send_frame(worker.call_socket, [_core.KIND_CALL, 2, "run"])
    worker.last_id = 2
    worker.send("run", [1, 2, 3])
    assert worker.call("run", "next") == "next"
    with pytest.raises(Failed):
        worker.call("nobody_knows_it")
    assert worker.cancel(worker.last_id) == "ended"


def test_a_call_that_has_ended(worker):
    assert worker.call("run", "a") == "a"
    assert worker.call("run", "b") == "b"
    assert [worker.cancel(id_) for id_ in (0, 1, 2)] == ["ended"] * 3
    assert worker.call("run", "c") == "c"


def test_what_waits_is_bounded(worker):
    first = worker.running("loop")
    most = 1024
    ids = range(first + 1, first + most + 2)
    for id_ in ids:
        send_frame(worker.side_socket, [_core.KIND_CANCEL, id_])
    states = [recv_frame(worker.side_socket)[2] for _ in ids]
    assert states == ["unstarted"] * most + ["full"]
    calls = [_core.encode([_core.KIND_CALL, id_, "run", ["x"]]) for id_ in ids]  # short of a field, and refused
    worker.call_socket.sendall(b"".join(struct.pack(">I", len(call)) + call for call in calls))
    assert worker.cancel(first) == "started"
    assert is_cancelled(worker.answer(), first)
    assert worker.answer()[:2] == [_core.KIND_ERROR, ids[-1]]
    assert worker.cancel(ids[-1] + 1) == "unstarted"


def test_ids_of_64_bits(worker):
    worker.last_id = 2**64 - 3
    assert worker.cancel(2**64 - 1) == "unstarted"
    id_ = worker.running("loop")
    assert worker.cancel(id_) == "started"
    assert is_cancelled(worker.answer(), id_)
    worker.send("run", ["never"])
    send_frame(worker.call_socket, [KIND_NOBODY_KNOWS, 5])
    assert worker.answer()[:2] == [_core.KIND_ERROR, 5], "nothing was answered before"


# ---- No other call


def test_ten_thousand_cancels_around_the_end_of_a_call(worker):
    """Two short calls; the first is cancelled within a millisecond of its end. The second must not notice."""
    seconds = 0.001
    seen = Counter()
    rng = random.Random(4)
    for _ in range(10_000):
        first = worker.send("busy", [seconds])
        at = time.monotonic() + seconds + rng.uniform(-0.001, 0.001)
        second = worker.send("busy", [seconds])
        while time.monotonic() < at:
            pass
        state = worker.cancel(first)
        interrupted = False
        if state != "unstarted":
            answer = worker.answer()
            assert answer[1] == first
            interrupted = answer[0] == _core.KIND_ERROR
            assert (is_cancelled(answer, first) and state == "started") if interrupted else answer[3] == seconds
        seen[state, interrupted] += 1
        assert worker.answer() == [_core.KIND_REPLY, second, ANY, seconds]
    assert seen["started", True] > 0 < seen["ended", False], seen


# ---- Without signals


def test_serving_on_another_thread_goes_without_interrupts():
    """The call that runs is told of, and those that wait are dropped; and a handler of the user's stays."""
    done = run_python(
        """
import signal, socket, threading
from pitcrew import _core
def frames(sock, *frames):
    for frame in frames:
        payload = _core.encode(frame)
        sock.sendall(len(payload).to_bytes(4, "big") + payload)
def serve_somewhere(run):
    call, vm = socket.socketpair()
    side, vm_side = socket.socketpair()
    started, go_on = threading.Event(), threading.Event()
    def wait():
        started.set()
        go_on.wait()
        return "whole"
    def vm_thread():
        frames(vm, [3, 1, "wait", [], None], [3, 2, "wait", [], None])
        started.wait()
        for id in (1, 2):
            frames(vm_side, [18, id])
            print(_core.read_hello(vm_side.fileno())[0])
        go_on.set()
        print(_core.read_hello(vm.fileno())[0][3])
        frames(vm, [9, 0])
        print(vm.recv(1))
    thread = threading.Thread(target=vm_thread)
    thread.start()
    run(lambda: (print(_core.serve(call.fileno(), side.fileno(), {"wait": (wait, None)})), call.close()))
    thread.join()
def elsewhere(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
serve_somewhere(elsewhere)
handler = lambda *_: None
signal.signal(signal.SIGURG, handler)
serve_somewhere(lambda function: function())
print(signal.getsignal(signal.SIGURG) is handler)
"""
    )
    once = ["[23, 1, 'started']", "[23, 2, 'unstarted']", "whole", "shutdown", "b''"]
    assert (done.stdout.split("\n"), done.stderr) == ([*once, *once, "True", ""], "")
