"""Enumerables of the VM, as arguments of a call. Imported when the first of them arrives."""

from __future__ import annotations

import sys
from _thread import allocate_lock
from itertools import count

from ._core import DecodeError, tell
from .functions import ElixirError, make_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable
    from collections.abc import Iterator as AnyIterator
    from typing import Any, NoReturn

    from ._core import Function

_NEXT, _CLOSE, _DROP, _AGAIN = range(4)
_ASYNC = "on the thread of an event loop an iterator of the VM's is for `async for`: nobody else would go on meanwhile"
_NOTHING: list[Any] = []  # instead of an answer that could not be read
_numbers = count(1)


def _is_on_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class Iterator:
    """An enumerable of the VM, which makes elements as they are asked for, some of them in advance.

    An iterator, and an asynchronous one for `async def` tools. Good for as long as the call runs that it came with.
    What the enumerable raises is raised as `pitcrew.ElixirError` behind the elements before it; then, as with a
    generator, it is over. Threads may share one: each element comes once.
    """

    __module__ = "pitcrew"
    __slots__ = ("__weakref__", "_end", "_function", "_items", "_lock", "_number", "_ones", "_pending", "_what")

    _items: AnyIterator[Any]  # what has come and was not taken
    _end: Any  # what comes behind _items: None for more, True for nothing, or the map of an error
    _pending: Future[Any] | None  # the answer that coroutines wait for

    def __init__(self, function: Function) -> None:
        self._end = True
        self._function = function
        self._number = 0  # until it is asked for the first time, the VM does not know of it
        self._items = iter(())
        self._lock = allocate_lock()
        self._pending = None
        self._what = _NEXT
        self._ones = False  # whether each answer has one element, because one of many could not be read
        self._end = None

    def __repr__(self) -> str:
        return f"<pitcrew.Iterator of {self._function!r}>"

    # ---- In a thread

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        for item in self._items:
            return item
        if self._lock.locked() and _is_on_loop():  # which may be who reads what the other thread waits for
            raise RuntimeError(_ASYNC)
        with self._lock:
            while True:
                for item in self._items:  # another thread may have brought some
                    return item
                if self._end is not None:
                    self._finish(StopIteration)
                self._fetch()

    def _fetch(self) -> None:
        answer = self._ask() if self._pending is None else self._pending
        if type(answer) is not list:
            self._pending = answer
            if not answer.done():
                raise RuntimeError(_ASYNC)
            answer = self._settled(answer)
        self._take(answer)

    # ---- In a coroutine

    def __aiter__(self) -> Iterator:
        return self

    async def __anext__(self) -> Any:
        while True:
            for item in self._items:
                return item
            if self._end is not None:
                self._finish(StopAsyncIteration)
            await self._await()

    async def _await(self) -> None:
        """A task that is cancelled meanwhile loses nothing: the next one that asks goes on with the same answer."""
        pending = self._ask() if self._pending is None else self._pending
        if type(pending) is list:  # a loop of the tool's own, in a thread
            self._take(pending)
            return
        self._pending = pending
        if not pending.done():
            from asyncio import wait

            await wait([pending])
        if self._pending is pending:
            self._take(self._settled(pending))

    def _settled(self, pending: Future[Any]) -> Any:
        self._pending = None
        return self._answer(pending.result)

    # ---- Both

    def _ask(self) -> Any:
        if self._number == 0:
            self._number = next(_numbers)
        return self._answer(self._function, self._number, self._what)

    def _answer(self, give: Callable[..., Any], *args: Any) -> Any:
        """What it gives; it may be asked again after what cannot be read, and after nothing else that it raises."""
        try:
            return give(*args)
        except DecodeError:
            if not self._again():
                raise
            return _NOTHING
        except BaseException:
            self._give_up()
            raise

    def _again(self) -> bool:
        """One of some elements cannot be read: those before it can, each for itself."""
        if self._ones:
            self._give_up()
            return False
        self._ones, self._what = True, _AGAIN
        return True

    def _take(self, answer: Any) -> None:
        if answer is _NOTHING:
            return
        items, end = answer
        self._what = _NEXT
        rest = list(self._items)  # of somebody else, who has asked at the same time
        self._items = iter(rest + items)
        if self._end is None:
            self._end = end

    def _give_up(self) -> None:
        self._end = True
        tell(self._function, [self._number, _DROP])

    def _finish(self, stop: type[Exception]) -> NoReturn:
        end, self._end = self._end, True
        if end is True:
            raise stop
        raise make_error(end)

    # ---- The end

    def close(self) -> None:
        """Takes no more: the enumerable is ended, and its `after` functions have run when this returns.

        On the thread of an event loop it does not wait for that: `aclose` does.
        """
        self._close()

    async def aclose(self) -> None:
        """The same for `async def` tools."""
        answer = self._close()
        if answer is not None:
            await answer

    def _close(self) -> Any:
        began = self._number != 0 and self._end is None
        self._items, self._end = iter(()), True
        try:
            return self._function(self._number, _CLOSE) if began else None
        except ElixirError as error:
            if error.kind != "gone":
                raise
        return None

    def __del__(self) -> None:
        if self._end is None and self._number != 0:
            tell(self._function, [self._number, _DROP])
