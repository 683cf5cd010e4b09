"""The tools of the benchmarks of round trips and of the cache."""

from __future__ import annotations

from pitcrew import tool


@tool
def echo(value: object) -> object:
    """Return the argument."""
    return value


@tool(idempotent=True)
def same(value: object) -> object:
    """Return the argument, as ever."""
    return value
