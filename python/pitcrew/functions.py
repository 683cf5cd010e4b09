"""What the functions of the VM raise. Imported when the first of them does."""

from __future__ import annotations

from ._core import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ElixirError(Error):
    """A function or a tool of the VM has failed, in Elixir or in Erlang.

    `kind` is `error`, `exit` or `throw` as the function ended; `timeout`; `bad_arguments`, `decode_error`,
    `result_error` or `too_big` where arguments or result did not fit; `unknown_tool`; `no_process` where a
    message cannot be sent; or `gone` when the call that the function belongs to has ended. `type` is the name of an
    Elixir exception or None, `message` its message, `stacktrace` a text or None.
    """

    __module__ = "pitcrew"

    kind: str
    type: str | None
    message: str
    stacktrace: str | None

    def __init__(self, kind: str, message: str, type: str | None = None, stacktrace: str | None = None) -> None:
        super().__init__(kind, message, type, stacktrace)
        self.kind = kind
        self.type = type
        self.message = message
        self.stacktrace = stacktrace

    def __str__(self) -> str:
        return f"({self.type or self.kind}) {self.message}"


def make_error(fields: Mapping[str, Any]) -> ElixirError:
    """From the map of an error frame, which may hold less than it should."""
    kind, message = fields.get("kind"), fields.get("message")
    return ElixirError(
        str(kind) if kind else "error",
        str(message) if message else "the VM gave no message",
        fields.get("type"),
        fields.get("traceback"),
    )
