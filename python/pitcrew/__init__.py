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
    Cancelled,
    DecodeError,
    EncodeError,
    Error,
    FrozenDict,
    FrozenList,
    Function,
    ProtocolError,
    Unpacker,
    deadline,
    emit,
    packb,
    unpackb,
)
from .registry import declare_event, on_memory_pressure, on_worker_start, on_worker_stop, register_type, tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import session
    from .arrow import Arrow
    from .buffers import empty, give
    from .events import span, traced
    from .functions import ElixirError
    from .iterators import Iterator
    from .map import Map
    from .pressure import MemoryPressure
    from .refs import Ref, ref
    from .tensors import Tensor
    from .terms import Ext, Opaque, Timestamp
    from .times import DateTime, Time, Zone
    from .trace import trace_context
    from .vm import elixir, send

__version__: str = _core.__version__

__all__ = [
    "Arrow",
    "Atom",
    "Cancelled",
    "DateTime",
    "DecodeError",
    "ElixirError",
    "EncodeError",
    "Error",
    "Ext",
    "FrozenDict",
    "FrozenList",
    "Function",
    "Iterator",
    "Map",
    "MemoryPressure",
    "Opaque",
    "ProtocolError",
    "Ref",
    "Tensor",
    "Time",
    "Timestamp",
    "Unpacker",
    "Zone",
    "__version__",
    "deadline",
    "declare_event",
    "elixir",
    "emit",
    "empty",
    "give",
    "on_memory_pressure",
    "on_worker_start",
    "on_worker_stop",
    "packb",
    "ref",
    "register_type",
    "send",
    "session",
    "span",
    "tool",
    "trace_context",
    "traced",
    "unpackb",
]

_LAZY = {
    "Arrow": "arrow",
    "DateTime": "times",
    "ElixirError": "functions",
    "Ext": "terms",
    "Iterator": "iterators",
    "Map": "map",
    "MemoryPressure": "pressure",
    "Opaque": "terms",
    "Ref": "refs",
    "Tensor": "tensors",
    "Time": "times",
    "Timestamp": "terms",
    "Zone": "times",
    "elixir": "vm",
    "empty": "buffers",
    "give": "buffers",
    "ref": "refs",
    "send": "vm",
    "span": "events",
    "trace_context": "trace",
    "traced": "events",
}


def __getattr__(name: str) -> object:
    """Types that most tools never see are imported when somebody asks for them."""
    if name == "session":
        from importlib import import_module

        return import_module("pitcrew.session")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'pitcrew' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"pitcrew.{module}"), name)
    globals()[name] = found
    return found
