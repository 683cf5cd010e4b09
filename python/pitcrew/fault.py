"""How an exception is told to the VM: its class, its text, its traceback, all bounded and all sendable.

Imported by `_core` when something fails for the first time, and not before.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

MESSAGE_BYTES = 16 * 1024
TRACEBACK_BYTES = 64 * 1024
FRAMES = 256
CLOSE_MATCHES = 3
NAMES = 20

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORT_SYSTEM = "<frozen importlib"


def describe(exception: BaseException, with_traceback: bool) -> tuple[str, str, str | None]:
    """(class, message, traceback or None)."""
    told = bounded(text_of(exception), MESSAGE_BYTES)
    return name_of(type(exception)), told, traceback_of(exception) if with_traceback else None


def name_of(cls: type) -> str:
    module = getattr(cls, "__module__", None)
    return sendable(cls.__qualname__ if module in ("builtins", None) else f"{module}.{cls.__qualname__}")


def text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except BaseException as error:  # user code: whatever it raises
        return f"<no text: its __str__ raised {type(error).__name__}>"


def traceback_of(exception: BaseException) -> str:
    """As Python prints it, without frames of ours and of the import system in front of the user's."""
    import traceback

    start = first_of_user(exception.__traceback__)
    try:
        lines = traceback.format_exception(type(exception), exception, start, limit=-FRAMES)
    except Exception as error:  # an exception that breaks the formatter must not break the worker
        return f"<no traceback: formatting it raised {type(error).__name__}>"
    return bounded("".join(lines), TRACEBACK_BYTES)


def first_of_user(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith((_OURS, _IMPORT_SYSTEM)):
            return traceback
        traceback = traceback.tb_next
    return None


def sendable(text: str) -> str:
    """Lone surrogates have no form in UTF-8: they become their escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def bounded(text: str, most: int) -> str:
    """At most `most` bytes of UTF-8: the beginning, what was cut, and the end, which says the most."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode("utf-8")
    note = 64
    head, tail = (most - note) // 4, (most - note) * 3 // 4
    begin = data[:head].decode("utf-8", "ignore")
    end = data[len(data) - tail :].decode("utf-8", "ignore")
    return f"{begin}\n... {len(data) - head - tail} bytes left out ...\n{end}"


def unknown_tool(name: str, tools: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = list(tools)
    close = get_close_matches(name, known, CLOSE_MATCHES)
    message = f"there is no tool named {sendable(name)!r}"
    if close:
        return f"{message}; did you mean {' or '.join(map(repr, close))}?"
    if not known:
        return f"{message}: the pool's modules have no tools"
    some = ", ".join(map(repr, sorted(known)[:NAMES]))
    return f"{message}; the pool has {some}{' and others' if len(known) > NAMES else ''}"
