"""The tools of the benchmarks of starting, recovering and memory, with NumPy imported."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal

import numpy
from pitcrew import tool

# Made in the zygote, so that all workers share them.
_arrived = mmap.mmap(-1, mmap.PAGESIZE)
_lock = os.memfd_create("meeting")
_leave = os.pipe()


def _meet(workers: int) -> None:
    """Return when as many workers are in here: so each of them holds one call, and none holds two."""
    fcntl.lockf(_lock, fcntl.LOCK_EX)
    arrived = _arrived[0] + 1
    _arrived[0] = arrived % workers
    fcntl.lockf(_lock, fcntl.LOCK_UN)
    if arrived == workers:
        os.write(_leave[1], b"." * workers)
    os.read(_leave[0], 1)


@tool
def answer(count: int, workers: int) -> list[int]:
    """Return what spawn_worker.py prints, once every worker has a call."""
    _meet(workers)
    return [int(numpy.arange(count).sum()), os.getpid()]


@tool
def pid() -> int:
    """Return which process this is."""
    return os.getpid()


@tool
def kill(worker: int) -> None:
    """Kill a process."""
    os.kill(worker, signal.SIGKILL)


@tool
def stick_in_c() -> None:
    """Wait in C for a lock that never comes, holding the GIL: no exception and no other thread gets in."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
