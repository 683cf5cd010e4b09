"""What the inputs of one call share: how much may happen at once, the results that serve again, and the threads."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from typing import Any

from dspy.utils.exceptions import LMUnsupportedFeatureError

from .threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable

    import dspy


class Run:
    """For one event loop and one call; `async with` ends what it has begun.

    tools, models: how many tools, and how many calls of the model, run at once.
    cached: the names of tools of which equal calls run once.
    """

    def __init__(self, tools: int, models: int, cached: Collection[str] = ()) -> None:
        self.tools = asyncio.Semaphore(tools)
        self.models = asyncio.Semaphore(models)
        self.cached = cached
        self.found: dict[str, asyncio.Future[str]] = {}
        self.threads = Threads()
        self.model_blocks = False

    async def __aenter__(self) -> Run:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.threads.end()

    # ---- The model

    async def ask(self, predict: Any, inputs: dict[str, Any]) -> Any:
        """A prediction. A model that cannot be awaited is asked in a thread."""
        async with self.models:
            if not self.model_blocks:
                with contextlib.suppress(LMUnsupportedFeatureError, NotImplementedError):
                    return await predict.acall(**inputs)
            answer = await self.threads.call(lambda: predict(**inputs))
            self.model_blocks = True  # else it was the request that it refused
            return answer

    # ---- Tools

    async def observe(self, tool: dspy.Tool, args: dict[str, Any]) -> str:
        """What the model is told of a tool's result. Equal calls of a tool in `cached` are one; errors are not kept."""
        key = key_of(tool.name, args) if tool.name in self.cached else None
        if key is None:
            return await self.execute(tool, args)
        task = self.found.get(key)
        if task is None:
            task = self.found[key] = asyncio.ensure_future(self.execute(tool, args))
        try:
            return await task
        except BaseException:
            self.found.pop(key, None)
            raise

    async def execute(self, tool: dspy.Tool, args: dict[str, Any]) -> str:
        async with self.tools:
            if is_async(tool.func):
                value = await tool.acall(**args)
            else:
                value = await self.threads.call(lambda: tool(**args))
        return text_of(value)


def is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def key_of(name: str, args: dict[str, Any]) -> str | None:
    try:
        return json.dumps([name, args], sort_keys=True)
    except (TypeError, ValueError):
        return None


def text_of(value: Any) -> str:
    """Text as it is, anything else as JSON as far as that goes."""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that JSON has not, or a cycle
        return repr(value)


async def together(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Their results in order. None of them runs any more when this returns or raises."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        rest = [task for task in tasks if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
