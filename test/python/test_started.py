"""The word in shared memory that tells which call a worker has started (docs/protocol.md section 2)."""

import os
import signal
import socket
import sys

import pytest
from harness import CLOSED, HELLO, send_frame, until
from pitcrew import _core

NAME = "memfd:the-started-word"


@pytest.fixture
def memory():
    fd = os.memfd_create(NAME.removeprefix("memfd:"), os.MFD_CLOEXEC)
    os.truncate(fd, 4096)
    yield fd
    os.close(fd)


def started(memory):
    return int.from_bytes(os.pread(memory, 8, 0), sys.byteorder)


def descriptors_of(worker):
    """Without the one that the listing itself has open."""
    return sorted(target for target in worker.call("links").values() if not target.startswith("/proc/"))


def test_each_call_is_told_before_its_tool_starts(tools, memory):
    worker = tools.worker(fds=[memory], started=True)
    assert started(memory) == 0
    assert worker.call("add", 1) == 2
    assert started(memory) == 1
    worker.last_id = 2**63
    id_ = worker.running("hold_gil", 10**12)
    assert id_ == 2**63 + 1 and until(lambda: started(memory) == id_)
    waiting = worker.send("add", [1])
    os.kill(worker.pid, signal.SIGKILL)
    tools.expect("exit", 1)
    assert started(memory) == id_ < waiting


def test_a_tool_that_ends_the_process_has_started(tools, memory):
    worker = tools.worker(fds=[memory], started=True)
    worker.last_id = 41
    worker.send("quit_now", [3])
    assert worker.answer() == CLOSED
    assert started(memory) == 42


def test_what_is_refused_or_cancelled_has_not_started(tools, memory):
    worker = tools.worker(fds=[memory], started=True)
    assert worker.call("add", 1) == 2
    assert worker.cancel(2) == "unstarted"
    worker.send("add", [1])
    worker.send("nobody_knows_it")
    assert worker.answer()[:2] == [_core.KIND_ERROR, 3]
    assert started(memory) == 1


def test_a_forked_child_has_no_such_memory(tools, memory):
    worker = tools.worker(fds=[memory], started=True)
    here, in_child = worker.call("shared_memory")
    assert [NAME in line and "rw-s" in line for line in here] == [True]
    assert in_child == []
    assert worker.call("fork_and_return")[1] == 1
    assert started(memory) == 2
    assert worker.call("add", 1) == 2
    assert started(memory) == 3


def test_no_descriptor_stays_open(tools, memory):
    """Not the one that was mapped, not those beyond it, and not those with frames that have none."""
    without = descriptors_of(tools.worker(1))
    worker = tools.worker(2, fds=[memory] * 3, started=True)
    send_frame(worker.call_socket, [_core.KIND_CALL, 1, "add", [1], None, None], [memory, memory])
    assert worker.answer()[3] == 2
    send_frame(worker.side_socket, [_core.KIND_PING, 1], [memory])
    assert worker.side_socket.recv(1) == b"\0"
    with_memory = descriptors_of(worker)
    assert [NAME in link for link in with_memory] == [False] * len(without)


def test_a_hello_in_pieces(tools, memory):
    token = tools.request(1)
    connection, auth = tools.listener.accept()
    payload = _core.encode([_core.KIND_HELLO, 0, {**HELLO, "started": True}])
    data = len(payload).to_bytes(4, "big") + payload
    socket.send_fds(connection, [data[:1]], [memory])
    for byte in data[1:]:
        connection.send(bytes([byte]))
    side, side_auth = tools.listener.accept()
    assert (auth[2:4], side_auth[2:4]) == ([token, "call"], [token, "side"])
    send_frame(connection, [_core.KIND_CALL, 7, "pid", [], None, None])
    assert until(lambda: started(memory) == 7)
    connection.close()
    side.close()
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_memory_that_is_too_small_ends_the_worker(tools, memory):
    os.truncate(memory, 7)
    worker = tools.worker(fds=[memory], started=True)
    assert worker.answer() == CLOSED
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]
    assert "Invalid argument" in tools.read_out(1, 2)


def test_a_descriptor_of_something_else_ends_the_worker(tools):
    read, write = os.pipe()
    worker = tools.worker(fds=[write], started=True)
    os.close(read)
    os.close(write)
    assert worker.answer() == CLOSED
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]
