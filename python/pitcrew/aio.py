"""The event loop that a worker's `async def` tools run on, all of them on one, for as long as the worker lives.

Imported by `_core` when the first of them is called, and by the zygote when there is one.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_loop: asyncio.AbstractEventLoop | None = None


class Cancelled(_core.Cancelled, CancelledError):
    """What a tool that waits sees when its call is cancelled: a pitcrew.Cancelled, and what asyncio expects."""


def loop() -> asyncio.AbstractEventLoop:
    global _loop
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """To its end, before the worker serves."""
    return loop().run_until_complete(coroutine)
