"""Answers that go out together (docs/protocol.md section 2): whatever happens to the worker, all arrive, each once."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterable
from typing import Any

import pytest
from harness import CLOSED, Worker, recv_exactly, recv_frame, run_python, send_frame, until, wait_readable
from pitcrew import _core

HEAD, HELD = 4096, 65536
TOOLS = "hold_tools"
CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR


class Memory:
    """What comes with `hello`, as the VM reads it."""

    def __init__(self, size: int = HEAD + HELD) -> None:
        self.fd = os.memfd_create("held", os.MFD_CLOEXEC)
        os.truncate(self.fd, size)

    def close(self) -> None:
        os.close(self.fd)

    def word(self, at: int) -> int:
        return int.from_bytes(os.pread(self.fd, 8, at), sys.byteorder)

    @property
    def started(self) -> int:
        return self.word(0)

    @property
    def ready(self) -> int:
        return self.word(16)

    def unsent(self, received: int) -> bytes:
        """Of a worker that is dead: what would have come after so many bytes."""
        base, ready = self.word(8), self.word(16)
        if ready <= received:
            return b""
        assert base <= received and ready - base <= HELD
        return os.pread(self.fd, ready - received, HEAD + received - base)


@pytest.fixture
def memory():
    memory = Memory()
    yield memory
    memory.close()


@pytest.fixture
def worker(tools, memory):
    worker = tools.worker(fds=[memory.fd], started=True)
    assert worker.first[0] == _core.KIND_READY, worker.first
    return worker


# ---- Many calls in one write


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def calls(worker: Worker, them: Iterable[tuple[Any, ...]]) -> bytes:
    """Frames of (tool, argument, …)."""
    data = bytearray()
    for tool, *args in them:
        worker.last_id += 1
        data += framed(_core.encode([CALL, worker.last_id, tool, args, None, None]))
    return bytes(data)


def send_calls(worker: Worker, them: Iterable[tuple[Any, ...]]) -> list[int]:
    first = worker.last_id + 1
    worker.call_socket.sendall(calls(worker, them))
    return list(range(first, worker.last_id + 1))


def values(worker: Worker, ids: Iterable[int]) -> list[Any]:
    """Of the next answers, which are those."""
    found = []
    for id_ in ids:
        answer = worker.answer()
        assert answer != CLOSED and answer[:2] == [REPLY, id_], answer
        found.append(answer[3])
    return found


def ask(worker: Worker, them: list[tuple[Any, ...]]) -> list[Any]:
    return values(worker, send_calls(worker, them))


def echoes(n: int) -> list[tuple[str, int]]:
    return [("echo", i) for i in range(n)]


def drain(sock: socket.socket) -> bytes:
    """Everything until its end."""
    data = bytearray()
    while True:
        try:
            piece = sock.recv(1 << 16)
        except ConnectionResetError:  # it had not read all of ours
            continue
        if not piece:
            return bytes(data)
        data += piece


def take_apart(data: bytes) -> tuple[list[list[Any]], bytes]:
    """Frames, and what is left."""
    found = []
    at = 0
    while at + 4 <= len(data):
        (n,) = struct.unpack_from(">I", data, at)
        if at + 4 + n > len(data):
            break
        found.append(_core.decode(data[at + 4 : at + 4 + n]))
        at += 4 + n
    return found, data[at:]


class Blocker:
    """Lets the tool `block` return."""

    def __init__(self, tmp_path) -> None:
        self.path = str(tmp_path / "blocker")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()

    def accept(self) -> socket.socket:
        return self.socket.accept()[0]

    def let_go(self) -> None:
        self.accept().close()


@pytest.fixture
def blocker(tmp_path):
    blocker = Blocker(tmp_path)
    yield blocker
    blocker.socket.close()


# ---- Contents


def test_sixteen_calls_in_one_write(worker, memory):
    """Some answer is held sooner or later; that none is although calls wait happens only where each tool seems slow."""
    assert until(lambda: ask(worker, echoes(16)) == list(range(16)) and memory.ready > 0)


def test_refusals_and_errors_keep_their_places(worker):
    ids = send_calls(
        worker, [("echo", 1), ("fail", "x"), ("nobody_knows_it",), ("echo", 2), ("fail", "y"), ("echo", 3)]
    )
    answers = [worker.answer() for _ in ids]
    assert [answer[1] for answer in answers] == ids
    said = [answer[3] if answer[0] == REPLY else answer[3]["kind"] for answer in answers]
    assert said == [1, "tool_error", "unknown_tool", 2, "tool_error", 3]


def test_answers_of_every_size_between_small_ones(worker):
    rng = random.Random(1)
    edges = [8000, 8150, 8192, 8200, 9000, 65000, 65536, 66000, 300_000]
    for _ in range(20):
        sizes = [
            *edges,
            *(rng.choice([rng.randrange(100), rng.randrange(8000), rng.randrange(70_000)]) for _ in range(50)),
        ]
        rng.shuffle(sizes)
        assert list(map(len, ask(worker, [("big", n) for n in sizes]))) == sizes


def test_more_answers_than_the_memory_holds(worker):
    for n in (1000, 4000, 8000):
        assert list(map(len, ask(worker, [("big", n)] * 100))) == [n] * 100


def test_json_between_messagepack(worker):
    ids = itertools.count(1)
    batch, expected = bytearray(), []
    for i in range(60):
        id_ = next(ids)
        if i % 3 == 0:
            batch += framed(b'[3,%d,"echo",[%d],null,null]' % (id_, i))
        else:
            batch += framed(_core.encode([CALL, id_, "echo", [i], None, None]))
        expected.append((i % 3 == 0, id_, i))
    worker.call_socket.sendall(batch)
    found = []
    for _ in expected:
        payload = recv_exactly(worker.call_socket, struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0])
        if payload.startswith(b"["):
            kind, id_, _, value = eval(payload)
        else:
            kind, id_, _, value = _core.decode(payload)
        assert kind == REPLY
        found.append((payload.startswith(b"["), id_, value))
    assert found == expected


def test_cancelled_calls_between_others(worker, blocker):
    """The last one too: what is held before it goes out although it is not answered."""
    first, *ids = send_calls(worker, [("block", blocker.path), *echoes(9)])
    gone = [ids[1], ids[2], ids[8]]
    with blocker.accept():
        assert [worker.cancel(id_) for id_ in gone] == ["unstarted"] * 3
    assert values(worker, [first, *(id_ for id_ in ids if id_ not in gone)]) == ["", 0, 3, 4, 5, 6, 7]
    assert ask(worker, echoes(3)) == [0, 1, 2]


def test_calls_that_come_in_pieces(worker):
    rng = random.Random(2)
    batch = calls(worker, echoes(2000))
    while batch:
        n = rng.randrange(1, 400)
        worker.call_socket.sendall(batch[:n])
        batch = batch[n:]
    assert values(worker, range(1, 2001)) == list(range(2000))


# ---- A tool that takes long


def test_quick_answers_arrive_while_a_slow_tool_runs(worker, memory, blocker):
    """The side thread sends them; and it does so again, with its alarm turned off meanwhile or not."""

    def some_were_held():
        before = memory.ready
        ids = send_calls(worker, [*echoes(5), ("block", blocker.path), ("echo", "last")])
        assert values(worker, ids[:5]) == list(range(5))
        held = memory.ready > before
        assert worker.ping() == {"started": ids[5]}
        blocker.let_go()
        assert values(worker, ids[5:]) == ["", "last"]
        return held

    for _ in range(20):
        assert until(some_were_held)


def test_the_side_thread_serves_its_channel_meanwhile(worker, blocker):
    *quick, slow, cancelled = send_calls(worker, [*echoes(5), ("block", blocker.path), ("echo", "never")])
    send_frame(worker.side_socket, [_core.KIND_CANCEL, cancelled])
    for n in range(1000):
        send_frame(worker.side_socket, [_core.KIND_PING, n])
    assert recv_frame(worker.side_socket) == [_core.KIND_CANCELLED, cancelled, "unstarted"]
    for n in range(1000):
        assert recv_frame(worker.side_socket)[:2] == [_core.KIND_PONG, n]
    assert values(worker, quick) == list(range(5))
    assert until(lambda: worker.ping()["started"] == slow)
    blocker.let_go()
    assert values(worker, [slow]) == [""]
    assert ask(worker, echoes(2)) == [0, 1]


def test_a_side_channel_that_is_closed(worker, blocker):
    """Nobody would look after what is held, so nothing is."""
    assert ask(worker, echoes(16)) == list(range(16))
    worker.side_socket.close()
    assert until(lambda: len(os.listdir(f"/proc/{worker.pid}/task")) == 1)
    *quick, slow = send_calls(worker, [*echoes(16), ("block", blocker.path)])
    assert values(worker, quick) == list(range(16))
    blocker.let_go()
    assert values(worker, [slow]) == [""]


@pytest.mark.parametrize("data", ["", "mine"])
def test_an_alarm_that_a_tool_has_closed(worker, memory, blocker, data):
    """And whose number is something else now, which is left alone."""
    assert until(lambda: ask(worker, echoes(16)) == list(range(16)) and memory.ready > 0)
    *quick, slow = send_calls(worker, [*echoes(16), ("replace_alarm", data), *echoes(16), ("block", blocker.path)])
    assert until(lambda: worker.ping()["started"] == slow)
    assert values(worker, quick) == [*range(16), 1, *range(16)]
    blocker.let_go()
    assert values(worker, [slow]) == [""]
    assert ask(worker, [*echoes(5), ("read_pipe",)]) == [*range(5), data]


# ---- A VM that does not read


def main_thread(worker: Worker) -> tuple[str, str]:
    """Its state, and how often it has slept."""
    with open(f"/proc/{worker.pid}/task/{worker.pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return fields["State"].split()[0], fields["voluntary_ctxt_switches"]


def waits_for_room(worker: Worker, memory: Memory, first: int) -> bool:
    """Since that call has begun. It sleeps, and not because the side thread has a lock, which would not answer then."""

    def sleeps() -> bool:
        before = main_thread(worker)
        return memory.started >= first and before[0] == "S" and bool(worker.ping()) and main_thread(worker) == before

    return until(sleeps)


def unread(sock: socket.socket) -> int:
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def read_answers(worker: Worker, n: int) -> bytes:
    data = bytearray()
    for _ in range(n):
        header = recv_exactly(worker.call_socket, 4)
        data += header + recv_exactly(worker.call_socket, struct.unpack(">I", header)[0])
    return bytes(data)


def stall(worker: Worker, memory: Memory, received: bytes = b"") -> bytes:
    """Until the worker waits for room and something is held; all that was received."""
    ids = send_calls(worker, [("shrink_buffers",)])
    while True:
        received += read_answers(worker, len(ids))
        ids = send_calls(worker, [("big", 300)] * 200)
        assert waits_for_room(worker, memory, ids[0])
        if memory.ready > len(received) + unread(worker.call_socket):
            return received


def test_the_worker_waits_for_room_and_goes_on(worker, memory):
    for _ in range(20):
        ids = send_calls(worker, [("shrink_buffers",), *[("big", n) for n in [300, 10_000, 70_000, 3] * 50]])
        assert waits_for_room(worker, memory, ids[1])
        assert worker.ping() == {"started": 0}
        assert values(worker, ids)[0] is None


def test_the_side_thread_tries_again_when_there_is_room(worker, blocker):
    """More than the socket takes at once, while a tool runs."""
    assert ask(worker, [("shrink_buffers",)]) == [None]
    for _ in range(20):
        *quick, slow = send_calls(worker, [*[("big", 300)] * 150, ("block", blocker.path)])
        assert list(map(len, values(worker, quick))) == [300] * 150
        blocker.let_go()
        assert values(worker, [slow]) == [""]


def test_answers_behind_those_that_the_side_thread_could_not_send(worker, memory, blocker):
    """It has sent a part, in the middle of a frame or not, when the slow tool ends."""
    assert ask(worker, [("shrink_buffers",)]) == [None]

    def a_part_was_sent():
        *quick, slow = ids = send_calls(worker, [*[("big", 300)] * 150, ("block", blocker.path)])
        assert waits_for_room(worker, memory, quick[0])
        unread_when_slow = memory.started == slow
        if not unread_when_slow:  # the loop has sent something itself, and has to be read from
            ids = ids[len(values(worker, quick)) :]
        assert not unread_when_slow or until(lambda: unread(worker.call_socket) > 0)
        ids += send_calls(worker, echoes(20))
        blocker.let_go()
        assert values(worker, ids)[-20:] == list(range(20))
        return unread_when_slow

    for _ in range(20):
        assert until(a_part_was_sent)


# ---- The end


def outcome(tools, worker: Worker, memory: Memory, received: bytes = b"") -> tuple[list[Any], list[tuple[int, int]]]:
    """How the worker exited, and all answers: those that came, and those that were held."""
    received += drain(worker.call_socket)
    status = tools.expect("exit")[3:5]
    worker.close()
    answers, rest = take_apart(received + memory.unsent(len(received)))
    assert rest == b"" or len(received) > memory.ready, "half a frame, which was not sent from elsewhere"
    return status, [(answer[0], answer[1]) for answer in answers]


def replies(n: int) -> list[tuple[int, int]]:
    return [(REPLY, id_) for id_ in range(1, n + 1)]


def drained(worker: Worker) -> list[tuple[int, int]]:
    """Without what was held at the end."""
    answers, rest = take_apart(drain(worker.call_socket))
    assert rest == b""
    return [(answer[0], answer[1]) for answer in answers]


def test_shutdown_behind_calls(tools, worker):
    """The worker waits until the socket has taken all answers."""
    shutdown = framed(_core.encode([_core.KIND_SHUTDOWN, 0]))
    worker.call_socket.sendall(calls(worker, [("shrink_buffers",), *[("big", 300)] * 150]) + shutdown)
    assert drained(worker) == replies(151)
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_end_of_file_behind_calls(tools, worker):
    send_calls(worker, echoes(20))
    worker.call_socket.shutdown(socket.SHUT_WR)
    assert drained(worker) == replies(20)
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_a_bad_frame_behind_calls(tools, worker, memory):
    worker.call_socket.sendall(calls(worker, echoes(20)) + framed(b"\xc0"))
    assert outcome(tools, worker, memory) == (["exit", 1], replies(20))


def test_a_vm_that_is_gone(tools, worker, blocker):
    """With answers that nobody will take, and whose time is over while a tool runs."""
    send_calls(worker, [*echoes(20), ("block", blocker.path), *echoes(20)])
    with blocker.accept():
        worker.call_socket.close()
        assert worker.ping() == {"started": 21}
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_a_signal_handler_that_leaves_while_the_worker_waits(tools, worker, memory):
    send_calls(worker, [("exit_on_signal", 5)])
    received = stall(worker, memory, read_answers(worker, 1))
    os.kill(worker.pid, signal.SIGUSR1)
    assert wait_readable(tools.pidfd(1)), "it waits for a VM that does not read"
    status, answers = outcome(tools, worker, memory, received)
    assert status == ["exit", 5]
    assert answers in (replies(memory.started), replies(memory.started - 1))


@pytest.mark.parametrize("how", ["exit", "kill", "segv"])
def test_a_call_that_ends_the_process(tools, how):
    """After any number of answers of any size."""
    rng = random.Random(how)
    for wid in range(1, 101):
        memory = Memory()
        worker = tools.worker(wid, fds=[memory.fd], started=True)
        before, most = rng.randrange(40), rng.choice([10, 1000, 8000, 20_000])
        send_calls(worker, [*[("big", rng.randrange(most)) for _ in range(before)], ("die", how), *echoes(10)])
        status, answers = outcome(tools, worker, memory)
        assert status == {"exit": ["exit", 3], "kill": ["signal", 9], "segv": ["signal", 11]}[how]
        assert answers == replies(before)
        assert memory.started == before + 1
        memory.close()


def test_a_kill_while_the_worker_waits_for_room(tools):
    for wid in range(1, 21):
        memory = Memory()
        worker = tools.worker(wid, fds=[memory.fd], started=True)
        received = stall(worker, memory)
        os.kill(worker.pid, signal.SIGKILL)
        status, answers = outcome(tools, worker, memory, received)
        assert status == ["signal", 9]
        assert answers in (replies(memory.started), replies(memory.started - 1))
        memory.close()


def has_started(memory: Memory, id_: int) -> bool:
    return until(lambda: memory.started >= id_)


def test_a_kill_at_any_moment(tools):
    """All calls that had started are answered, but perhaps the last."""
    rng = random.Random(5)
    for wid in range(1, 301):
        memory = Memory()
        worker = tools.worker(wid, fds=[memory.fd], started=True)
        received = b""
        if rng.random() < 0.5:
            send_calls(worker, [("shrink_buffers",)])
            received = read_answers(worker, 1)
        most, rounds = rng.choice([10, 100, 7000]), rng.randrange(2000)
        first, *_ = send_calls(worker, [("big", rng.randrange(most)) for _ in range(200)])
        assert has_started(memory, first)
        if rng.random() < 0.5:
            received += worker.call_socket.recv(rng.randrange(1, 20_000))
        for _ in range(rounds):
            pass
        os.kill(worker.pid, signal.SIGKILL)
        status, answers = outcome(tools, worker, memory, received)
        assert status == ["signal", 9]
        assert answers in (replies(memory.started), replies(memory.started - 1))
        memory.close()


# ---- Where nothing is held, and forks


@pytest.mark.parametrize("size", [8, HEAD, HEAD + HELD - 1])
def test_memory_that_has_no_room_for_answers(tools, size):
    memory = Memory(size)
    worker = tools.worker(fds=[memory.fd], started=True)
    for _ in range(50):
        assert ask(worker, echoes(16)) == list(range(16))
    assert os.pread(memory.fd, size, 0) == memory.started.to_bytes(8, sys.byteorder) + bytes(size - 8)
    memory.close()


def test_a_forked_child_leaves_what_is_held_alone(tools, worker):
    for _ in range(20):
        assert ask(worker, [*echoes(5), ("fork_and_return",), *echoes(5)]) == [*range(5), 1, *range(5)]


def test_a_child_that_is_forked_while_the_worker_waits(tools, worker, memory):
    send_calls(worker, [("fork_on_signal",)])
    received = stall(worker, memory, read_answers(worker, 1))
    os.kill(worker.pid, signal.SIGUSR1)
    assert tools.read_line(1) == "1\n"
    worker.call_socket.shutdown(socket.SHUT_WR)
    status, answers = outcome(tools, worker, memory, received)
    assert status == ["exit", 0]
    assert answers == replies(worker.last_id)


def test_serving_on_another_thread():
    done = run_python(
        """
import os, socket, struct, sys, threading
from pitcrew import _core
call, vm = socket.socketpair()
side, vm_side = socket.socketpair()
memory = os.memfd_create("held")
os.truncate(memory, 4096 + 65536)
go_on, done = threading.Event(), []
tools = {"echo": (lambda value: value, None), "wait": (go_on.wait, None)}
thread = threading.Thread(target=lambda: done.append(_core.serve(
    call.fileno(), side.fileno(), tools, started_fd=os.dup(memory))))
thread.start()
def receive():
    return _core.read_hello(vm.fileno())[0][3]
def frame(*fields):
    payload = _core.encode(list(fields))
    return struct.pack(">I", len(payload)) + payload
for i in range(200):
    batch = [frame(3, 20 * i + n, "echo", [n], None) for n in range(16)]
    vm.sendall(b"".join(batch) + frame(3, 20 * i + 16, "wait", [], None))
    assert [receive() for n in range(16)] == list(range(16))
    go_on.set()
    assert receive() is True
    go_on.clear()
vm.sendall(frame(3, 10**6, "echo", [1], None) + frame(3, 10**6 + 1, "echo", [2], None) + frame(9, 0))
received = [receive(), receive()]
thread.join()
print(received, done, int.from_bytes(os.pread(memory, 8, 16), sys.byteorder) > 0)
"""
    )
    assert (done.stdout, done.stderr) == ("[1, 2] ['shutdown'] True\n", "")
