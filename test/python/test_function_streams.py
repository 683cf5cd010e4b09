"""Functions of the VM and chunks of a stream on one channel: frames are whole where the socket takes part of one."""

import os
import select

import pytest
from functions import REPLY, begin, called, give
from harness import SECONDS
from pitcrew import _core

CHUNK = _core.KIND_CHUNK
TOOLS = "function_tools"
LARGE = 5_000_000  # more than a socket takes
CREDIT = {"stream": 1 << 20}


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
    id_ = begin(worker, "yields_when_cancelled", LARGE, meta=CREDIT)
    wait_until_it_sends(worker)
    assert worker.cancel(id_) == "started"
    assert called(worker, id_)[1] == ["x" * LARGE]
    assert worker.answer()[:4:3] == [CHUNK, "cancelled"]
    assert worker.answer()[:2] == [REPLY, id_]
    assert worker.call("echo", 1) == 1


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_chunk_while_a_thread_sends(worker, fifo, size):
    id_ = begin(worker, "yields_beside_a_thread", LARGE, size, str(fifo), meta=CREDIT)
    wait_until_it_sends(worker)
    fifo.write_text("on")
    function, args, _ = called(worker, id_)
    assert args == ["x" * LARGE]
    assert worker.answer()[:4:3] == [CHUNK, "y" * size]
    give(worker, function, None)
    assert worker.answer()[:2] == [REPLY, id_]


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_thread_that_sends_while_a_chunk_is_sent(tools, worker, fifo, size):
    id_ = begin(worker, "yields_before_a_thread", size, LARGE, str(fifo), meta=CREDIT)
    wait_until_it_sends(worker)
    fifo.write_text("on")
    assert tools.read_line(1) == "sending\n"
    assert worker.answer()[:4:3] == [CHUNK, "y" * LARGE]
    function, args, _ = called(worker, id_)
    assert args == ["x" * size]
    give(worker, function, None)
    assert worker.answer()[:2] == [REPLY, id_]
