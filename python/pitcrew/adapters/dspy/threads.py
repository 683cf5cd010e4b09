"""Functions in threads of their own, for a coroutine that waits for them and can cut them short."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pitcrew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """The threads of one run. Whoever made it must have awaited `end` when the run ends, however it does."""

    def __init__(self) -> None:
        self.alive: set[Helper] = set()

    async def call(self, function: Callable[[], Any]) -> Any:
        """What the function returns or raises. Not through a pool of threads: how many may run is said elsewhere."""
        helper = Helper(function)
        self.alive.add(helper)
        helper.ended.add_done_callback(lambda _: self.alive.discard(helper))
        try:
            helper.thread.start()
        except BaseException:
            self.alive.discard(helper)
            raise
        # Who waits may be cancelled; the end of the thread is still to be told.
        result, error = await asyncio.shield(helper.ended)
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # its traceback has this frame

    async def end(self) -> None:
        """Interrupts what runs, and waits for it. As in every call in a thread, what runs in C ends when it returns."""
        for helper in self.alive:
            helper.interrupt()
        cancelled = None
        while self.alive:
            try:
                await asyncio.wait([helper.ended for helper in self.alive])
            except asyncio.CancelledError as error:  # once more, while we clean up
                cancelled = error
        if cancelled is not None:
            raise cancelled


class Helper:
    """One thread. `ended` becomes (result, exception) on the loop."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[tuple[Any, BaseException | None]] = self.loop.create_future()
        self.lock = threading.Lock()  # held to change the next two
        self.runs = True
        self.interrupted = False
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=self.run, args=(context, function), name="pitcrew-react", daemon=True)

    def interrupt(self) -> None:
        """Raises Cancelled in the thread before its next instruction, once, if its function has not ended."""
        import ctypes

        with self.lock:
            if self.runs and not self.interrupted and self.thread.ident is not None:
                self.interrupted = True
                ident = ctypes.c_ulong(self.thread.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(pitcrew.Cancelled))

    def run(self, context: contextvars.Context, function: Callable[[], Any]) -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            try:
                outcome = context.run(function), None
            except BaseException as error:
                outcome = None, error
            with self.lock:  # leaving it lets an interrupt come that was on its way; there is no other
                self.runs = False
        except pitcrew.Cancelled as error:
            outcome = None, error
        try:
            self.loop.call_soon_threadsafe(self.tell, outcome)
        except RuntimeError:  # the loop is closed, and nobody waits
            pass
        del outcome  # an exception's traceback has this frame

    def tell(self, outcome: tuple[Any, BaseException | None]) -> None:
        if not self.ended.done():
            self.ended.set_result(outcome)
