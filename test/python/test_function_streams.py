"""Functions of the VM and chunks of a stream on one channel: frames are whole where the socket takes part of one."""

import os
import select

import pytest
from functions import CALL, REPLY, begin, called, give
from harness import SECONDS, nothing_comes, send_frame
from pitcrew import _core

CHUNK, CREDIT, END = _core.KIND_CHUNK, _core.KIND_CREDIT, _core.KIND_END
TOOLS = "function_stream_tools"
LARGE = 5_000_000  # more than a socket takes
ENOUGH = {"stream": 1 << 20}


@pytest.fixture
def worker(either):
    return either


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def wait_until_it_sends(worker):
    assert select.select([worker.call_socket], [], [], SECONDS)[0]


def test_a_chunk_behind_the_rest_of_a_frame_that_was_cut(worker):
    id_ = begin(worker, "yields_when_cancelled", LARGE, meta=ENOUGH)
    wait_until_it_sends(worker)
    assert worker.cancel(id_) == "started"
    assert called(worker, id_)[1] == ["x" * LARGE]
    assert worker.answer()[:4:3] == [CHUNK, "cancelled"]
    assert worker.answer()[:2] == [REPLY, id_]
    assert worker.call("echo", 1) == 1


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_chunk_while_a_thread_sends(worker, fifo, size):
    id_ = begin(worker, "yields_beside_a_thread", LARGE, size, str(fifo), meta=ENOUGH)
    wait_until_it_sends(worker)
    fifo.write_text("on")
    function, args, _ = called(worker, id_)
    assert args == ["x" * LARGE]
    assert worker.answer()[:4:3] == [CHUNK, "y" * size]
    give(worker, function, None)
    assert worker.answer()[:2] == [REPLY, id_]


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_thread_that_sends_while_a_chunk_is_sent(tools, worker, fifo, size):
    id_ = begin(worker, "yields_before_a_thread", size, LARGE, str(fifo), meta=ENOUGH)
    wait_until_it_sends(worker)
    fifo.write_text("on")
    assert tools.read_line(1) == "sending\n"
    assert worker.answer()[:4:3] == [CHUNK, "y" * LARGE]
    function, args, _ = called(worker, id_)
    assert args == ["x" * size]
    give(worker, function, None)
    assert worker.answer()[:2] == [REPLY, id_]


@pytest.mark.parametrize(("frame", "rest"), [([CREDIT, 9], [[CHUNK, "given"]]), ([END], [])])
def test_what_a_stream_that_waits_is_told_while_its_task_reads(worker, fifo, frame, rest):
    id_ = begin(worker, "yields_beside_a_task", str(fifo), meta={"stream": 1})
    assert worker.answer()[:4:3] == [CHUNK, "first"]
    assert nothing_comes(worker)
    fifo.write_text("on")
    function, _, _ = called(worker, id_)
    send_frame(worker.call_socket, [frame[0], id_, *frame[1:]])
    give(worker, function, "given")
    assert [worker.answer()[:4:3] for _ in rest] == rest
    assert worker.answer()[:2] == [REPLY, id_]
    assert worker.call("echo", 1) == 1


def test_a_stream_and_a_thread_that_read_at_the_same_time(worker):
    """What either is told may be read by the other."""
    n = 200
    id_ = begin(worker, "yields_and_calls", n, meta={"stream": 1})
    seen = {CHUNK: 0, CALL: 0}
    while (frame := worker.answer())[0] != REPLY:
        seen[frame[0]] += 1
        answer = [CREDIT, id_, 1] if frame[0] == CHUNK else [REPLY, frame[1], 0, None]
        send_frame(worker.call_socket, answer)
    assert frame[:2] == [REPLY, id_]
    assert seen == {CHUNK: n, CALL: n}
