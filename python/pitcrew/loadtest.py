"""Tools to be called under load, for pools that a load test starts: as many as PITCREW_LOADTEST_TOOLS says, else one.

They are named loadtest_1, loadtest_2 and so on, and return their argument.
"""

from __future__ import annotations

import os

from .registry import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _make(name: str) -> Callable[[Any], Any]:
    """One of them. Its name tells messages which one it is."""

    def echo(payload: Any) -> Any:
        return payload

    echo.__name__ = echo.__qualname__ = name
    return echo


for _number in range(1, int(os.environ.get("PITCREW_LOADTEST_TOOLS", "1")) + 1):
    tool(idempotent=True, name=f"loadtest_{_number}")(_make(f"loadtest_{_number}"))
