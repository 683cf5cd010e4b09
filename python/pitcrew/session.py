"""The session that the running call belongs to.

from pitcrew import session, tool

@tool
def add_to_cart(item):
    session.state.setdefault("cart", []).append(item)

Calls of one session run in one worker, whose `session.state` is a dict that lives as long as the session. Outside of
a session there is neither `state` nor `id`: asking for them is a RuntimeError that says so. A thread that a tool
starts has no session.
"""

from __future__ import annotations

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    state: dict[Any, Any]
    id: int

__all__ = ["id", "state"]


def __getattr__(name: str) -> object:
    if name == "state":
        return _core.session_state()
    if name == "id":
        return _core.session_id()
    raise AttributeError(f"module 'pitcrew.session' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
