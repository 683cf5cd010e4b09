"""The tools of the benchmark of the two protocols."""

from __future__ import annotations

import base64

from pitcrew import tool


@tool
def nothing() -> None:
    """Take nothing and return nothing."""


@tool
def echo(value: object) -> object:
    """Return the argument."""
    return value


@tool
def echo_bytes(data: bytes) -> bytes:
    """Return bytes as they are."""
    return data


@tool
def echo_base64(text: str) -> str:
    """Return bytes that travel as text, as JSON needs it."""
    return base64.b64encode(base64.b64decode(text)).decode()
