"""The tool of the round-trip benchmark."""

from __future__ import annotations

from pitcrew import tool


@tool
def echo(value: object) -> object:
    """Return the argument."""
    return value
