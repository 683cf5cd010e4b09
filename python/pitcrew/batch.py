"""Batches of coroutines (docs/protocol.md, Batches): what `_core` imports when the first of them is called."""

from __future__ import annotations

from asyncio import CancelledError, gather

from .aio import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from typing import Any, Protocol

    class Batch(Protocol):
        """A _core.Batch."""

        def settle(self, outcomes: list[tuple[bool, Any]]) -> None:
            """Whether each of the coroutines has returned something, and what; or what it has raised."""

        def spread(self, results: Any) -> None:
            """What the tool has returned for all."""

        def fail(self, exception: BaseException) -> None:
            """What it has raised."""


async def each(batch: Batch, coroutines: list[Coroutine[Any, Any, Any]]) -> Batch:
    """Runs them all at once, and ends when the last one has ended."""
    batch.settle(await gather(*map(outcome, coroutines)))
    return batch


async def at_once(batch: Batch, coroutine: Coroutine[Any, Any, Any]) -> Batch:
    try:
        results = await coroutine
    except Exception as error:
        trace = error.__traceback__
        batch.fail(error.with_traceback(trace and trace.tb_next))  # without this frame, which has the batch
    else:
        batch.spread(results)
    return batch


async def outcome(inner: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Whatever it raises; a loop would take some exceptions for its own."""
    try:
        return True, await Driven(inner)
    except BaseException as error:
        return False, error


class Driven:
    """Awaited as the coroutine is, but a cancellation is pitcrew.Cancelled in that, too."""

    __slots__ = ("inner",)

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self.inner = inner

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self.inner.send
        value: Any = None
        while True:
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self.inner.send, (yield awaited)
            except CancelledError:
                step, value = self.inner.throw, Cancelled("the call was cancelled")
            except BaseException as error:
                step, value = self.inner.throw, error
