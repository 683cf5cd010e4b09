"""Hooks for memory, by themselves and in a worker; pools with max_rss are tested with those of the VM."""

import os
import subprocess
import sys

import pitcrew
import pytest
from harness import PACKAGE, until
from pitcrew import pressure

TOOLS = "pressure_tools"
MEMORY, TRIM = 2, 4


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch):
    monkeypatch.setattr(pressure, "hooks", [])


def test_hooks_are_told_how_much_there_is_and_how_much_there_may_be(capfd):
    seen = []

    @pitcrew.on_memory_pressure
    def fail(pressure):
        raise KeyError("no such cache")

    @pitcrew.on_memory_pressure
    def clear(pressure):
        seen.append((pressure.rss, pressure.limit, repr(pressure)))

    pressure.relieve(20, 10)
    assert seen == [(20, 10, "MemoryPressure(rss=20, limit=10)")]
    assert "KeyError: 'no such cache'" in capfd.readouterr().err


def test_a_hook_stays_the_function_that_it_is():
    def hook(pressure):
        return None

    assert pitcrew.on_memory_pressure(hook) is hook


@pytest.mark.parametrize("other", [None, "clear"])
def test_a_hook_is_a_function(other):
    with pytest.raises(TypeError, match="a function is needed"):
        pitcrew.on_memory_pressure(other)


def test_a_hook_cannot_be_a_coroutine():
    async def hook(pressure):
        return None

    with pytest.raises(TypeError, match="`async def`"):
        pitcrew.on_memory_pressure(hook)


FORKS = """
import os
import pitcrew
from pitcrew import pressure


@pitcrew.on_memory_pressure
def fork(pressure):
    if os.fork() != 0:
        print("the child has", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)


@pitcrew.on_memory_pressure
def after(pressure):
    print("once", flush=True)


pressure.relieve(2, 1)
print("the worker goes on")
"""


def test_a_process_that_a_hook_forked_ends_there():
    env = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    ran = subprocess.run([sys.executable, "-c", FORKS], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "the child has 1\nonce\nthe worker goes on\n"
    assert "a process that a memory hook forked must end with os._exit" in ran.stderr


def test_a_result_that_is_on_its_way_is_left_alone(worker, tmp_path):
    os.mkfifo(fifo := str(tmp_path / "fifo"))
    worker.send("slow_to_send", [fifo])
    with open(fifo, "w") as file:
        assert all(worker.ping(n, TRIM)["trims"] == 0 for n in range(20))  # each of which wakes the main thread
        file.write("x")
    assert worker.answer()[3] == 0  # hooks that were called
    assert until(lambda: worker.ping(21, MEMORY)["trims"] == 1)
    assert len(worker.call("pressures")) == 1
