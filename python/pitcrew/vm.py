"""What tools in Python can call in the VM: its own tools, by their names, and its processes. Imported when one does."""

from __future__ import annotations

from ._core import Function, vm_tool
from .terms import Opaque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Elixir:
    """The tools of the VM: `pitcrew.elixir.search(query="beam")`, or `pitcrew.elixir["search"]`.

    They are those that are registered for the pool, for the session, or for all pools, at the moment of the call. In an
    `async def` tool a call is to be awaited. Outside of a call of the VM's there are none.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} begins with an underscore: write pitcrew.elixir[{name!r}]")
        return vm_tool(name)

    def __getitem__(self, name: str) -> Function:
        return vm_tool(name)

    def __dir__(self) -> list[str]:
        return ["tools", *sorted(tool["name"] for tool in _tools_now())]

    def __repr__(self) -> str:
        return "<pitcrew.elixir>"

    def tools(self) -> Any:
        """What there is, for whoever is to choose: a list of dicts with `name`, `doc`, `schema` (a JSON schema of the
        parameters), `parameters` (their names, or None), `arity`, `idempotent`, and `session`, whether it is the
        session's own. In an `async def` tool it is to be awaited.
        """
        return vm_tool("pitcrew:tools")()


def _tools_now() -> list[dict[str, Any]]:
    """None where there is no call, and where they would have to be awaited."""
    from .functions import ElixirError

    try:
        found = vm_tool("pitcrew:tools")()
    except ElixirError:
        return []
    if isinstance(found, list):
        return found
    return found.result() if found.done() else []


def send(to: Opaque | str, message: object) -> Any:
    """Sends a message to a process of the VM: a pid that came from there, or the name of a registered process.

    It arrives as the tuple `{:pitcrew, message}`. Returns when it has been sent; in an `async def` tool that is to be
    awaited. Only inside of a call. An ElixirError where nothing is registered with that name.
    """
    if not isinstance(to, Opaque | str):
        raise TypeError(f"a message is sent to a pid or a name, not to {to!r}")
    return vm_tool("pitcrew:send")(to, message)


elixir = Elixir()
