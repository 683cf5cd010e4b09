"""The tools of the benchmarks of small calls."""

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


@tool(batch=True)
def echo_all(values: list[object]) -> list[object]:
    """Return the arguments of all calls."""
    return values
