"""The event loop that a worker's `async def` tools run on, all of them on one, for as long as the worker lives.

Imported by `_core` when the first of them is called, and by the zygote when there is one.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Event

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from typing import Any

_loop: asyncio.AbstractEventLoop | None = None
_inner_loops: list[asyncio.AbstractEventLoop] = []


class Cancelled(_core.Cancelled, CancelledError):
    """What a tool that waits sees when its call is cancelled: a pitcrew.Cancelled, and what asyncio expects."""


def loop() -> asyncio.AbstractEventLoop:
    global _loop
    if _loop is None or _loop.is_closed():
        _loop = asyncio.new_event_loop()
        asyncio.set_event_loop(_loop)
    return _loop


def inner_loop() -> asyncio.AbstractEventLoop:
    """Of a call inside of another one: that may be a coroutine, whose loop cannot run anything else meanwhile."""
    for idle in (loop(), *_inner_loops):
        if not idle.is_running():
            return idle
    _inner_loops.append(asyncio.new_event_loop())
    return _inner_loops[-1]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """To its end, before the worker serves."""
    return loop().run_until_complete(coroutine)


async def stream(
    source: AsyncIterator[Any],
    put: Callable[[Any], bool | None],
    look: Callable[[], bool | None],
    wait: Callable[[Any], Awaitable[object]],
    on: Any,
) -> None:
    """Gives what an asynchronous generator yields to the stream, and closes it.

    `put` and `look` say whether to go on, or None to wait.
    """
    try:
        async for chunk in source:
            goes_on = put(chunk)
            while goes_on is None:
                await wait(on)
                goes_on = look()
            if not goes_on:
                break
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


async def wait_input(fds: tuple[int, ...]) -> None:
    """Until there is something to read from one."""
    running = asyncio.get_running_loop()
    woken: asyncio.Future[None] = running.create_future()
    for fd in fds:
        running.add_reader(fd, _wake, woken)
    try:
        await woken
    finally:
        for fd in fds:
            running.remove_reader(fd)


async def wait_event(woken: Event) -> None:
    await woken.wait()
    woken.clear()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
