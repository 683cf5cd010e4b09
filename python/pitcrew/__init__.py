"""Python tools for Erlang and Elixir: what the author of a tool module imports.

from pitcrew import tool

@tool
def add(a: int, b: int) -> int:
    return a + b
"""

from __future__ import annotations

try:
    from . import _core
except ImportError as _error:
    from ._missing import find_core

    __path__, _core = find_core(__path__, _error)

from ._core import (
    Atom,
    DecodeError,
    EncodeError,
    Error,
    FrozenDict,
    FrozenList,
    ProtocolError,
)
from .registry import on_worker_start, on_worker_stop, tool

__version__: str = _core.__version__

__all__ = [
    "Atom",
    "DecodeError",
    "EncodeError",
    "Error",
    "FrozenDict",
    "FrozenList",
    "ProtocolError",
    "__version__",
    "on_worker_start",
    "on_worker_stop",
    "tool",
]
