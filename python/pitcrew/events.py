"""Events of telemetry: what the VM is told of by name, with numbers and facts. docs/events.md

import pitcrew

pitcrew.emit("my_app.search.done", {"hits": 3}, {"index": "books"})

with pitcrew.span("my_app.load", model="small") as loading:
    loading.measure(bytes=1_000_000)
"""

from __future__ import annotations

import math
import time

from . import _core
from .registry import declare_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["declare_event", "emit", "span", "traced"]

MOST_WORDS = 16
MOST_CHARACTERS = 64
# What the VM says by itself: of every event, and of those of Pitcrew's own.
RESERVED = frozenset({"pool", "worker", "slot", "call_id", "tool_id", "traceparent", "name"})
RESERVED_NUMBERS = frozenset({"monotonic_time", "system_time"})
RESERVED_NAMES = frozenset({("event",), ("dropped",)})

emit = _core.emit


# ---- What _core has not found to be as usual


def words(name: str | tuple[Any, ...]) -> tuple[str, ...]:
    """Of a name that was given in one of its two forms; an exception says what is wrong with it."""
    found = tuple(name.split(".")) if isinstance(name, str) else name
    for word in found:
        if not isinstance(word, str):
            raise TypeError(f"the words of an event's name are str, not {word!r}")
        if not word or len(word) > MOST_CHARACTERS or not word.isprintable():
            raise ValueError(
                f"a word of an event's name has 1 to {MOST_CHARACTERS} printable characters, unlike {word!r}"
            )
    if not found or len(found) > MOST_WORDS:
        raise ValueError(f"the name of an event has 1 to {MOST_WORDS} words, unlike {name!r}")
    if found in RESERVED_NAMES:
        raise ValueError(f"the event {found[0]!r} is Pitcrew's own; put a word before it")
    return tuple(str(word) for word in found)


def usual_measurements(given: object) -> dict[str, int | float]:
    """Numbers of any kind as Python's own."""
    return {key: number(key, value) for key, value in pairs(given, "measurements", RESERVED_NUMBERS)}


def usual_metadata(given: object) -> dict[str, object]:
    return dict(pairs(given, "metadata", RESERVED))


def pairs(given: object, what: str, reserved: frozenset[str]) -> list[tuple[str, Any]]:
    if not isinstance(given, dict):
        raise TypeError(f"{what} of an event are a dict, not {given!r}")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"the keys of {what} are str, not {key!r}")
        if key in reserved:
            raise ValueError(f"{key!r} in {what} is what Pitcrew says of every event; take another name")
    return [(str(key), value) for key, value in given.items()]


def number(key: str, value: Any) -> int | float:
    """Also one of NumPy's, a Decimal or a Fraction."""
    kind = type(value)
    if isinstance(value, (str, bytes, bytearray, bool)) or kind.__name__ == "bool":
        raise TypeError(f"the measurement {key!r} is a number, not {value!r}")
    if hasattr(kind, "__index__"):
        return int(value.__index__())
    if not hasattr(kind, "__float__"):
        raise TypeError(f"the measurement {key!r} is a number, not {value!r}")
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"the measurement {key!r} is {result}, which the VM has no number for")
    return result


# ---- Spans


class span:
    """What its `with` block does, as two events: `NAME.start`, and `NAME.stop` or `NAME.exception`.

    The second has `duration`, and what `measure()` was told; `note()` adds to its metadata. An object of this class is
    used once.
    """

    __slots__ = ("_begun", "_measurements", "_metadata", "_words")

    def __init__(self, name: str | Sequence[str], /, **metadata: Any) -> None:
        self._words = words(name if isinstance(name, str) else tuple(name))
        self._metadata = usual_metadata(metadata)
        self._measurements: dict[str, int | float] = {}
        self._begun = 0

    def measure(self, **measurements: float) -> None:
        """For the event at its end."""
        if "duration" in measurements:
            raise ValueError("'duration' is what the span measures itself")
        self._measurements.update(usual_measurements(measurements))

    def note(self, **metadata: Any) -> None:
        """For the event at its end."""
        self._metadata = self._metadata | usual_metadata(metadata)

    def __enter__(self) -> span:
        emit((*self._words, "start"), None, self._metadata)
        self._begun = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        duration = time.monotonic_ns() - self._begun
        if exception is None:
            _core.emit_span((*self._words, "stop"), duration, self._measurements, self._metadata)
        else:
            told = {"type": type_name(type(exception)), "message": message(exception)}
            _core.emit_span((*self._words, "exception"), duration, self._measurements, self._metadata | told)


def type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message(exception: BaseException) -> str:
    """Short, and whatever its `__str__` does."""
    try:
        return str(exception)[:1000].encode("utf-8", "backslashreplace").decode()
    except Exception:
        return ""


# ---- Functions


def traced(
    function: F | None = None, /, *, name: str | Sequence[str] | None = None, **metadata: Any
) -> F | Callable[[F], F]:
    """Makes each call of a function a span: of a generator from the first value that is asked for to its end.

    name: that of the span; `MODULE.FUNCTION` if left out. Its events are declared. With @tool, it stands below it.
    """
    if function is None:
        return lambda f: traced_function(f, name, metadata)
    traced: F = traced_function(function, name, metadata)
    return traced


def traced_function(function: Any, name: str | Sequence[str] | None, metadata: dict[str, Any]) -> Any:
    import functools
    import inspect

    if not callable(function):
        raise TypeError(
            f"@traced: a function is needed, not {function!r}; options are given by name: @traced(name=...)"
        )
    own = name if name is not None else own_name(function)
    span(own, **metadata)  # what is wrong is wrong now
    declare_event(own, metadata=metadata, span=True)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with span(own, **metadata):
            return function(*args, **kwargs)

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with span(own, **metadata):
            return await function(*args, **kwargs)

    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Any:
        with span(own, **metadata):
            return (yield from function(*args, **kwargs))

    @functools.wraps(function)
    async def async_generator(*args: Any, **kwargs: Any) -> Any:
        with span(own, **metadata):
            source = function(*args, **kwargs)
            try:
                async for value in source:
                    yield value
            finally:
                await source.aclose()

    if inspect.iscoroutinefunction(function):
        return coroutine
    if inspect.isasyncgenfunction(function):
        return async_generator
    return generator if inspect.isgeneratorfunction(function) else call


def own_name(function: Any) -> tuple[str, ...]:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError(f"@traced: {function!r} has no name of its own; give one: @traced(name=...)")
    return tuple(word for word in f"{module}.{name}".split(".") if word != "<locals>")
