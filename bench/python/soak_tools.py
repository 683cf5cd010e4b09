"""Tools of the soak test: values of all kinds, errors, work that allocates, and two ways to lose a worker."""

from __future__ import annotations

import os
import time

from pitcrew import tool


@tool(idempotent=True)
def echo(value: object) -> object:
    return value


@tool
def shaped(*args: object, **kwargs: object) -> list:
    return [list(args), kwargs]


@tool
def made(n: int) -> dict:
    """A value whose memory is Python's until it is sent."""
    return {f"key_{i}": [i, str(i), i / 3] for i in range(n)}


@tool
def fail(text: str) -> None:
    raise ValueError(text)


@tool
def say(text: str) -> None:
    print(text)


@tool
def wait(seconds: float) -> None:
    time.sleep(seconds)


@tool
def leave(status: int) -> None:
    os._exit(status)
