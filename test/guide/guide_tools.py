"""The Python side of the guide's examples, as tools of Pitcrew."""

import asyncio
import gc
import os
import uuid

import pitcrew
from pitcrew import on_memory_pressure, tool

PAGE = 4096


@tool
def add(a: int, b: int) -> int:
    return a + b


@tool
def echo(value):
    return value


@tool
def meet(arrive):
    """Calls a function of the VM, which returns when the test says so."""
    arrive()
    return os.getpid()


@tool
async def meet_later(arrive):
    await arrive()
    return os.getpid()


@tool
def count_to(n: int):
    yield from range(1, n + 1)


# ---- Cached tools: who runs says so by an id of its own


@tool(idempotent=True)
def look_up(tool_id: str, limit: int = 10):
    return [tool_id, limit, uuid.uuid4().hex]


@tool
def roll():
    return uuid.uuid4().hex


@tool(idempotent=True)
def unreliable():
    raise ConnectionError(uuid.uuid4().hex)


# ---- Batches

runs = 0


@tool(batch=True)
def price(nets: list[float]) -> list:
    """What all calls of a batch need is done once: `run` counts that. A net price below zero is an error of its own."""
    global runs
    runs += 1
    return [ValueError(f"{net} is no price") if net < 0 else {"gross": net * 2, "run": runs} for net in nets]


@tool
def ratio(a: float, b: float) -> float:
    return a / b


@tool
async def wait_for_ever():
    await asyncio.Event().wait()


# ---- Memory

kept = []
cache = []


@on_memory_pressure
def clear_cache(pressure):
    cache.clear()


def touched(size: int) -> bytearray:
    data = bytearray(size)
    for at in range(0, size, PAGE):
        data[at] = 1
    return data


@tool
def litter(size: int) -> int:
    """Leaves what only a collection finds."""
    gc.disable()
    circle = [touched(size)]
    circle.append(circle)
    return os.getpid()


@tool
def keep(size: int) -> int:
    kept.append(touched(size))
    return os.getpid()


@tool
def keep_for_speed(size: int) -> int:
    cache.append(touched(size))
    return os.getpid()


@tool
def cached() -> int:
    return len(cache)


@tool
def pid() -> int:
    return os.getpid()


# ---- Independent calls of tools in the VM


@tool
async def ask_all(tools, question, parallel):
    if parallel:
        return list(await asyncio.gather(*(ask(question) for ask in tools)))
    return [await ask(question) for ask in tools]


@tool
async def ask_registered(tools, input, config):
    return await ask_all([pitcrew.elixir[tool["tool_id"]] for tool in tools], input, config["parallel_tools"])
