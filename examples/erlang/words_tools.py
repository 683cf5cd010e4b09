"""The tools of words.escript."""

from __future__ import annotations

import textwrap
from collections import Counter

from pitcrew import tool


@tool
def count(text: str) -> dict[str, int]:
    """Return how often each word of a text occurs."""
    return dict(Counter(text.split()))


@tool
def wrap(text: str, width: int = 70) -> list[str]:
    """Return a text in lines of at most `width` characters."""
    return textwrap.wrap(text, width)
