"""What tool modules do when their worker has more memory than it may. Imported when the first of them asks for it."""

from __future__ import annotations

from . import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Hook = TypeVar("Hook", bound=Callable[["MemoryPressure"], Any])

_COROUTINE = 0x80  # in co_flags


class MemoryPressure:
    """What a hook is told: how many bytes the worker has for itself, and how many it may have."""

    __slots__ = ("limit", "rss")

    def __init__(self, rss: int, limit: int) -> None:
        self.rss = rss
        self.limit = limit

    def __repr__(self) -> str:
        return f"MemoryPressure(rss={self.rss}, limit={self.limit})"


hooks: list[Callable[[MemoryPressure], Any]] = []


def add(hook: Hook) -> Hook:
    if not callable(hook):
        raise TypeError(f"@on_memory_pressure: a function is needed, not {hook!r}")
    code = getattr(hook, "__code__", None)
    if code is not None and code.co_flags & _COROUTINE:
        raise TypeError(f"@on_memory_pressure: {hook.__qualname__} is `async def`; between two calls nobody awaits it")
    hooks.append(hook)
    return hook


def relieve(rss: int, limit: int) -> None:
    """Calls all hooks, whatever one of them raises. `_core` does this, between two calls."""
    pressure = MemoryPressure(rss, limit)
    process.call_hooks(tuple(hooks), lambda hook: hook(pressure), "memory")
