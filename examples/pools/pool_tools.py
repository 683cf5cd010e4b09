"""Tools for the pools of this example."""

import asyncio
import os
import time

from pitcrew import tool


@tool
def add(a: int, b: int) -> int:
    return a + b


@tool
def work(seconds: float) -> int:
    """Stands for a computation; tells which worker had it."""
    time.sleep(seconds)
    return os.getpid()


@tool
async def fetch(n: int, seconds: float) -> list:
    """Stands for a request to another machine, which other requests need not wait for."""
    await asyncio.sleep(seconds)
    return [n, os.getpid()]
