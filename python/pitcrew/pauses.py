"""Has the VM told of what collections of garbage take. Imported where the pool's option `gc_pauses` asks for it."""

from __future__ import annotations

import gc
import time

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = ("gc", "pause")
NS_PER_US = 1000

_least_ns = 0
_begun = 0


def install(least_us: int) -> None:
    """Of collections that take at least so long."""
    global _least_ns
    _least_ns = least_us * NS_PER_US
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)


def _on_collection(phase: str, info: dict[str, Any]) -> None:
    """In whatever thread has allocated something; one collection at a time."""
    global _begun
    if phase == "start":
        _begun = time.monotonic_ns()
        return
    duration = time.monotonic_ns() - _begun
    if _begun and duration >= _least_ns:
        found = {"collected": info["collected"], "uncollectable": info["uncollectable"]}
        _core.emit_span(NAME, duration, found, {"generation": info["generation"]})
