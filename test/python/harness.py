"""The other end of a worker's links, for tests: what the VM and the port do, in Python, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pitcrew
from pitcrew import _core

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
SECONDS = 30  # a bound for what must happen; nothing waits for it to pass
PACKAGE = Path(pitcrew.__file__).resolve().parent.parent
CLOSED = "closed"


# ---- Frames


def send_frame(sock: socket.socket, frame: list[Any], fds: Sequence[int] = ()) -> None:
    """With descriptors on its first byte."""
    payload = _core.encode(frame)
    data = struct.pack(">I", len(payload)) + payload
    sent = socket.send_fds(sock, [data], fds) if fds else 0
    if sent < len(data):  # sending nothing would fail where the other end has closed by now
        sock.sendall(data[sent:])


def recv_exactly(sock: socket.socket, n: int) -> bytes | None:
    data = bytearray()
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def recv_frame(sock: socket.socket) -> list[Any] | str:
    header = recv_exactly(sock, 4)
    if header is None:
        return CLOSED
    payload = recv_exactly(sock, struct.unpack(">I", header)[0])
    return CLOSED if payload is None else _core.decode(payload)


# ---- The VM's socket


class Listener:
    """A unix socket that workers connect to."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pc.", dir="/tmp")
        self.path = os.path.join(self.folder.name, "s")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(64)
        self.socket.settimeout(SECONDS)

    def accept(self) -> tuple[socket.socket, list[Any]]:
        """A connection and its `auth` frame."""
        connection, _ = self.socket.accept()
        connection.settimeout(SECONDS)
        return connection, recv_frame(connection)

    def close(self) -> None:
        self.socket.close()
        self.folder.cleanup()


HELLO = {"protocol": _core.PROTOCOL, "max_frame": 1 << 26, "max_depth": 512}


class Worker:
    """A worker that is ready, seen from the VM."""

    def __init__(
        self, listener: Listener, token: bytes, hello: dict[str, Any] | None = None, fds: Sequence[int] = ()
    ) -> None:
        self.call_socket, self.auth = listener.accept()
        self.side_socket: socket.socket | None = None
        self.last_id = 0
        assert self.auth[0] == _core.KIND_AUTH and self.auth[2:4] == [token, "call"]
        send_frame(self.call_socket, [_core.KIND_HELLO, 0, hello or HELLO], fds)
        # The worker opens its side channel only when it can start.
        ready, _, _ = select.select([self.call_socket, listener.socket], [], [], SECONDS)
        if listener.socket in ready:
            self.accept_side(listener, token)
        self.first = recv_frame(self.call_socket)
        # What select has looked at first may be ready since.
        if self.side_socket is None and self.first[0] == _core.KIND_READY:
            self.accept_side(listener, token)

    def accept_side(self, listener: Listener, token: bytes) -> None:
        self.side_socket, side_auth = listener.accept()
        assert side_auth[2:4] == [token, "side"]

    @property
    def pid(self) -> int:
        return self.auth[4]

    def send(
        self,
        tool: str,
        args: list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        meta: dict[str, Any] | None = None,
    ) -> int:
        self.last_id += 1
        send_frame(self.call_socket, [_core.KIND_CALL, self.last_id, tool, args or [], kwargs, meta])
        return self.last_id

    def answer(self) -> list[Any] | str:
        return recv_frame(self.call_socket)

    def call(self, tool: str, *args: Any, **kwargs: Any) -> Any:
        """The value; raises Failed for an error frame."""
        id_ = self.send(tool, list(args), kwargs or None)
        frame = self.answer()
        assert frame != CLOSED, "the worker closed its channel"
        assert frame[1] == id_
        if frame[0] == _core.KIND_ERROR:
            raise Failed(frame[3])
        assert frame[0] == _core.KIND_REPLY and frame[2] >= 0
        return frame[3]

    def fault(self, tool: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            value = self.call(tool, *args, **kwargs)
        except Failed as error:
            return error.fault
        raise AssertionError(f"no error: {value!r}")

    def ping(self, id_: int = 1, asks: int | None = None) -> dict[str, Any]:
        send_frame(self.side_socket, [_core.KIND_PING, id_] if asks is None else [_core.KIND_PING, id_, asks])
        frame = recv_frame(self.side_socket)
        assert frame[:2] == [_core.KIND_PONG, id_]
        return frame[2]

    def cancel(self, id_: int) -> str:
        """The state that it was in."""
        send_frame(self.side_socket, [_core.KIND_CANCEL, id_])
        frame = recv_frame(self.side_socket)
        assert frame[:2] == [_core.KIND_CANCELLED, id_]
        return frame[2]

    def running(self, tool: str, *args: Any) -> int:
        """Sends a call and waits until it runs."""
        id_ = self.send(tool, list(args))
        assert until(lambda: self.ping()["started"] == id_)
        return id_

    def close(self) -> None:
        self.call_socket.close()
        if self.side_socket is not None:
            self.side_socket.close()


class Failed(Exception):
    def __init__(self, fault: dict[str, Any]) -> None:
        super().__init__(fault)
        self.fault = fault


# ---- Calls with fields behind their arguments, in either format


def ask(worker: Worker, tool: str, *behind: Any) -> Any:
    """The value."""
    worker.last_id += 1
    send_frame(worker.call_socket, [_core.KIND_CALL, worker.last_id, tool, [], None, *behind])
    kind, id_, _, value = recv_frame(worker.call_socket)
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


def ask_in_json(worker: Worker, tool: str, *behind: Any) -> Any:
    worker.last_id += 1
    text = json.dumps([_core.KIND_CALL, worker.last_id, tool, [], None, *behind], separators=(",", ":")).encode()
    worker.call_socket.sendall(struct.pack(">I", len(text)) + text)
    size = struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0]
    kind, id_, _, value = json.loads(recv_exactly(worker.call_socket, size))
    assert (kind, id_) == (_core.KIND_REPLY, worker.last_id)
    return value


# ---- The port's end of the zygote link


class Zygote:
    """`python -m pitcrew` with a real link as descriptor 3."""

    def __init__(self, *arguments: str, env: dict[str, str | None] | None = None, python: str = sys.executable) -> None:
        self.listener = Listener()
        self.instance = "0123456789abcdef"
        self.forked: dict[int, tuple[int, int, int, int]] = {}
        self.pending: list[list[Any]] = []
        self.workers: list[Worker] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link = ours
        self.link.settimeout(SECONDS)
        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, out_write, 1),
            (os.POSIX_SPAWN_DUP2, err_write, 2),
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
        ]
        argv = [python, "-m", "pitcrew", *arguments]
        self.pid = os.posix_spawn(python, argv, self.environment(env or {}), file_actions=actions)
        theirs.close()
        os.close(out_write)
        os.close(err_write)
        self.out, self.err = out_read, err_read
        self.status: int | None = None

    def environment(self, extra: dict[str, str | None]) -> dict[str, str]:
        env = dict(os.environ)
        env["PYTHONPATH"] = f"{PACKAGE}:{FIXTURES}"
        env["PITCREW_INSTANCE"] = f"{self.instance}-00000000"
        env.update({k: v for k, v in extra.items() if v is not None})
        for name in [k for k, v in extra.items() if v is None]:
            env.pop(name, None)
        return env

    # Packets

    def receive(self) -> list[Any] | str:
        data, fds, _, _ = socket.recv_fds(self.link, 1 << 18, 3)
        if not data:
            return CLOSED
        message = _core.decode(data)
        if message[0] == "forked":
            self.forked[message[1]] = (message[2], *fds)
        else:
            assert fds == []
        return message

    def expect(self, name: str, wid: int | None = None) -> list[Any]:
        """The next packet of that name (and worker); others that come first are kept."""
        for i, message in enumerate(self.pending):
            if message[0] == name and wid in (None, message[1]):
                return self.pending.pop(i)
        while True:
            message = self.receive()
            assert message != CLOSED, f"the zygote is gone, and no {name}: {self.read_err()}"
            if message[0] == name and wid in (None, message[1]):
                return message
            self.pending.append(message)

    def ready(self) -> dict[str, Any]:
        return _core.decode(self.expect("ready")[1])

    def failed(self) -> dict[str, Any]:
        return _core.decode(self.expect("failed")[1])

    # Workers

    def request(self, wid: int, token: bytes | None = None, size: int = 0) -> bytes:
        """`size`: of the payload, which is filled up to it."""
        token = token or os.urandom(16)
        payload = {"socket": self.listener.path, "token": token, "wid": wid, "instance": self.instance}
        if size > 0:
            rest = size - len(_core.encode({**payload, "fill": b"x" * 0x8000}))
            payload["fill"] = b"x" * (0x8000 + rest)
            assert len(_core.encode(payload)) == size
        self.link.send(_core.encode(["fork", wid, _core.encode(payload)]))
        return token

    def worker(self, wid: int = 1, fds: Sequence[int] = (), size: int = 0, **hello: Any) -> Worker:
        token = self.request(wid, size=size)
        self.expect("forked", wid)
        self.workers.append(Worker(self.listener, token, {**HELLO, **hello}, fds))
        return self.workers[-1]

    def pidfd(self, wid: int) -> int:
        return self.forked[wid][1]

    def read_out(self, wid: int, stream: int = 1) -> str:
        """Everything until the worker and whoever shares its output are gone."""
        fd = self.forked[wid][1 + stream]
        data = bytearray()
        while piece := os.read(fd, 65536):
            data += piece
        return data.decode()

    def read_line(self, wid: int, stream: int = 1) -> str:
        fd = self.forked[wid][1 + stream]
        data = bytearray()
        while not data.endswith(b"\n"):
            assert wait_readable(fd)
            piece = os.read(fd, 1)
            assert piece, f"only {data!r} was read"
            data += piece
        return data.decode()

    def read_err(self) -> str:
        data = bytearray()
        while wait_readable(self.err) and (piece := os.read(self.err, 65536)):
            data += piece
        return data.decode()

    # The end

    def wait(self) -> int:
        """The zygote's exit code, negative for a signal."""
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self) -> None:
        self.link.close()
        for worker in self.workers:
            worker.close()
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)
                self.wait()
        for _, pidfd, out, err in self.forked.values():
            assert wait_readable(pidfd), "a worker outlives its zygote"
            for fd in (pidfd, out, err):
                os.close(fd)
        os.close(self.out)
        os.close(self.err)
        self.listener.close()


def wait_readable(fd: int, seconds: float = SECONDS) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def nothing_comes(worker: Worker, seconds: float = 0.1) -> bool:
    """Whether the worker says nothing on its call channel for so long."""
    return not wait_readable(worker.call_socket.fileno(), seconds)


def gone(pid: int) -> bool:
    """Whether the process has ended within the bound (a zombie has)."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return wait_readable(pidfd)
    finally:
        os.close(pidfd)


def environ_of(pid: int) -> dict[str, str]:
    data = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in data.split("\0") if "=" in entry)


def run_python(
    code: str, *arguments: str, python: str = sys.executable, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": f"{PACKAGE}:{FIXTURES}", **env},
        capture_output=True,
        text=True,
        timeout=SECONDS * 4,
    )


def until(condition, seconds: float = SECONDS) -> bool:
    """Waits for something that no descriptor tells of."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        os.sched_yield()
    return True
