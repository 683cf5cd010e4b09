"""Inside a pid namespace: workers die, strangers take their pids at once, and nobody may ever signal a stranger.

    unshare --pid --fork --mount-proc python strangers.py FOLDER

Drives the real port program with the real zygote and with port_zygote.py. A stranger is a process of this program's
own, leader of a group, with every signal blocked: what it was sent stays pending, where /proc shows it; SIGKILL and
SIGSTOP show themselves. The last line says how much was done, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from pitcrew import _core

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "test" / "fixtures"
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
SECONDS = 30
ROUNDS = 60
WORKERS = 4
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL]


class Strangers:
    """By pid."""

    def __init__(self) -> None:
        self.pidfds: dict[int, int] = {}

    def take(self, pid: int) -> bool:
        """A stranger with that pid, unless somebody else has been faster."""
        while is_free(pid):
            LAST_PID.write_text(str(pid - 1))
            child = os.fork()
            if child == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                os.setpgid(0, 0)
                os.closerange(3, 1024)  # the port's stdin among them
                while True:
                    signal.pause()
            with contextlib.suppress(PermissionError):
                os.setpgid(child, child)
            if child == pid:
                self.pidfds[pid] = os.pidfd_open(pid)
                return True
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return False

    def check(self) -> int:
        """Nobody has been signalled; how many there are."""
        for pid in self.pidfds:
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert status["State"][0] in "SRD", f"a stranger (pid {pid}) was killed or stopped: {status['State']}"
            pending = int(status["ShdPnd"], 16) | int(status["SigPnd"], 16)
            assert pending == 0, f"a stranger (pid {pid}) was sent signals: {pending:#x}"
        return len(self.pidfds)

    def dismiss(self) -> None:
        for pid, pidfd in self.pidfds.items():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            os.waitpid(pid, 0)
        self.pidfds.clear()


def is_free(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_free(pid: int) -> None:
    while not is_free(pid):
        os.sched_yield()


class Port:
    """The VM of a port program."""

    def __init__(self, base: str, instance: str) -> None:
        folder = os.path.join(base, f"pitcrew.{instance}")
        os.mkdir(folder, 0o700)
        self.path, self.instance, self.folder = os.path.join(folder, "s"), instance, folder
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(256)
        command = [os.environ.get("PITCREW_TEST_PORT", str(ROOT / "priv" / "pitcrew_port")), folder, instance]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.kept: list[list[Any]] = []
        self.wid = 0
        _, _, self.guard, self.pid = self.expect("hello")

    def send(self, *message: Any) -> None:
        data = _core.encode(list(message))
        self.program.stdin.write(struct.pack(">I", len(data)) + data)
        self.program.stdin.flush()

    def expect(self, name: str, number: int | None = None) -> list[Any]:
        for i, message in enumerate(self.kept):
            if message[0] == name and number in (None, message[1]):
                return self.kept.pop(i)
        while True:
            ready, _, _ = select.select([self.program.stdout.fileno()], [], [], SECONDS)
            assert ready, f"no {name} {number} but {self.kept}"
            size = struct.unpack(">I", self.read(4))[0]
            message = _core.decode(self.read(size))
            if message[0] == name and number in (None, message[1]):
                return message
            self.kept.append(message)

    def read(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = os.read(self.program.stdout.fileno(), n - len(data))
            assert piece, f"the port has gone; it said {self.kept}"
            data += piece
        return data

    def zygote(self, zid: int, *argv: str) -> int:
        path = f"{ROOT / 'python'}:{FIXTURES}"
        self.send("zygote", zid, [sys.executable, *argv], {"PYTHONPATH": os.environ.get("PYTHONPATH", path)}, None)
        pid = self.expect("zygote", zid)[2]
        self.expect("ready", zid)
        return pid

    def fork(self, zid: int, payload: bytes | None = None) -> tuple[int, int]:
        self.wid += 1
        if payload is None:
            told = {"socket": self.path, "token": os.urandom(16), "wid": self.wid, "instance": self.instance}
            payload = _core.encode(told)
        self.send("fork", zid, self.wid, payload)
        return self.wid, self.expect("forked", self.wid)[2]

    def storm(self, wids: list[int]) -> None:
        """Kills for workers that are dying, are dead, or have long been dead."""
        for wid in wids:
            for number in SIGNALS:
                self.send("kill", wid, number)

    @contextlib.contextmanager
    def suspended(self):
        """Guard and port stand still, the guard first, so that it does not mind the port."""
        for pid in (self.guard, self.pid):
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.guard, os.WSTOPPED | os.WNOWAIT)
        try:
            yield
        finally:
            for pid in (self.pid, self.guard):
                os.kill(pid, signal.SIGCONT)

    def end(self, how: str) -> None:
        if how == "stop":
            self.send("stop", 0)
        elif how == "end of file":
            self.program.stdin.close()
        elif how == "guard":
            os.kill(self.guard, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)
        while os.read(self.program.stdout.fileno(), 65536):
            pass
        self.program.wait()
        if how == "guard":
            os.waitpid(self.pid, 0)
        self.listener.close()
        self.program.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.program.stdin.close()
        assert not os.path.exists(self.folder)


REAL = ("-m", "pitcrew", "--start", "fork", "--tools", "worker_tools")
DOUBLE = (str(FIXTURES / "port_zygote.py"), "good")


def kill_behind(port: Port, workers: list[tuple[int, int]]) -> None:
    for _, pid in workers:
        os.kill(pid, signal.SIGKILL)


def kill_through(port: Port, workers: list[tuple[int, int]]) -> None:
    port.storm([wid for wid, _ in workers])


def hang_up(port: Port, workers: list[tuple[int, int]]) -> None:
    """They find the end of file instead of a greeting, and leave."""
    for _ in workers:
        port.listener.accept()[0].close()


def round_of_deaths(port: Port, strangers: Strangers, way: Any, suspended: bool) -> None:
    """With the port suspended the strangers are there before the port has heard of a death."""
    workers = [port.fork(1) for _ in range(WORKERS)]
    wids = [wid for wid, _ in workers]
    with port.suspended() if suspended and way is not kill_through else contextlib.nullcontext():
        way(port, workers)
        port.storm(wids)
        for _, pid in workers:
            wait_free(pid)
            strangers.take(pid)
        port.storm(wids)
    for wid in wids:
        port.expect("exit", wid)
    port.storm(wids)
    while select.select([port.listener], [], [], 0)[0]:
        port.listener.accept()[0].close()


def round_of_orphans(port: Port, strangers: Strangers) -> None:
    """A worker leaves a child and a daemon, which are killed as its orphans; strangers take their pids."""
    wid, pid = port.fork(2, b"leave_behind leave")
    port.send("credit", 4096)
    left = [int(word) for word in port.expect("log", wid)[3].split()[1:]]
    port.expect("exit", wid)
    for orphan in [pid, *left]:
        wait_free(orphan)
        strangers.take(orphan)


def round_of_zygotes(port: Port, strangers: Strangers) -> None:
    """A zygote dies with its workers; strangers take all their pids."""
    zygote = port.zygote(100 + port.wid, *DOUBLE)
    zid = 100 + port.wid
    workers = [port.fork(zid, b"idle") for _ in range(WORKERS)]
    os.kill(zygote, signal.SIGKILL)
    for pid in [zygote, *(pid for _, pid in workers)]:
        wait_free(pid)
        strangers.take(pid)
    port.send("kill_zygote", zid, int(signal.SIGKILL))
    port.storm([wid for wid, _ in workers])
    port.expect("gone", zid)
    port.send("kill_zygote", zid, int(signal.SIGKILL))


def main(base: str) -> None:
    assert os.getpid() == 1, "this wants to be the first process of a pid namespace"
    LAST_PID.write_text(LAST_PID.read_text())  # or it says why not
    strangers = Strangers()
    met = 0
    for number, end in enumerate(["stop", "end of file", "guard", "port"]):
        port = Port(base, f"{number:016x}")
        port.zygote(1, *REAL)
        port.zygote(2, *DOUBLE)
        for n in range(ROUNDS // 4):
            way = random.choice([kill_behind, kill_through, hang_up])
            round_of_deaths(port, strangers, way, suspended=n % 2 == 0)
            if n % 5 == 0:
                round_of_orphans(port, strangers)
                round_of_zygotes(port, strangers)
            strangers.check()
        port.fork(1)
        port.fork(2, b"leave_behind")
        port.end(end)
        met += strangers.check()
        strangers.dismiss()
    with contextlib.suppress(ChildProcessError):
        raise AssertionError(f"left behind: {os.waitpid(-1, 0)}")
    print(json.dumps({"strangers": met}))


if __name__ == "__main__":
    main(sys.argv[1])
