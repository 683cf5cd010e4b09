"""Fixtures, and a leak gate around every test: the same descriptors and children as before."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Zygote


def descriptors() -> dict[str, str]:
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.fixture(autouse=True)
def leak_gate():
    fds, processes = descriptors(), children()
    yield
    assert descriptors() == fds, "the test leaks descriptors"
    assert children() == processes, "the test leaks processes"


@pytest.fixture
def start():
    """Starts zygotes, and ends them with the test."""
    started: list[Zygote] = []

    def make(*arguments: str, **options) -> Zygote:
        zygote = Zygote(*arguments, **options)
        started.append(zygote)
        return zygote

    yield make
    for zygote in started:
        zygote.close()


@pytest.fixture
def tools(start, request):
    """A zygote that forks workers with the tools of test/fixtures: worker_tools, or what the module has in TOOLS."""
    zygote = start("--start", "fork", "--tools", getattr(request.module, "TOOLS", "worker_tools"))
    assert zygote.ready()["start"] == "fork"
    return zygote


@pytest.fixture(params=[1, 4], ids=["alone", "many"])
def either(tools, request):
    """A worker that runs one call at a time, and one that runs many."""
    return tools.worker(concurrency=request.param)


@pytest.fixture
def worker(tools):
    worker = tools.worker()
    assert worker.first[0] == 2, worker.first
    return worker
