"""Hooks for memory, by themselves; what calls them is tested with workers of the VM."""

import pitcrew
import pytest
from pitcrew import pressure


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
