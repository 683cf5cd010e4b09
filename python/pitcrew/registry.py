"""What a tool module declares: its tools, and what each worker does when it starts and before it stops."""

from __future__ import annotations

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar, overload

    from .pressure import MemoryPressure

    F = TypeVar("F", bound=Callable[..., Any])
    Hook = TypeVar("Hook", bound=Callable[[], Any])
    Relief = TypeVar("Relief", bound=Callable[[MemoryPressure], Any])


class Tool:
    """A function that the VM can call by name."""

    __slots__ = ("batch", "function", "idempotent", "name")

    def __init__(self, name: str, function: Callable[..., Any], idempotent: bool, batch: bool) -> None:
        self.name = name
        self.function = function
        self.idempotent = idempotent
        self.batch = batch

    @property
    def place(self) -> str:
        """Where it is defined, for messages: `my_tools.add (/srv/my_tools.py:12)`."""
        module = getattr(self.function, "__module__", None)
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        code = getattr(self.function, "__code__", None)
        where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        return f"{module}.{name}{where}"

    def replaces(self, other: Tool) -> bool:
        """Whether this is the same definition once more, as after importlib.reload."""
        return self.place == other.place and "<locals>" not in self.place


tools: dict[str, Tool] = {}
changes = 0  # to `tools` and `events`
# What the VM may make atoms of: the words of events, and the names of their measurements and metadata.
events: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
start_hooks: list[Callable[[], Any]] = []
stop_hooks: list[Callable[[], Any]] = []


def _tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    idempotent: bool = False,
    batch: bool = False,
    events: Iterable[str | Sequence[str]] = (),
) -> F | Callable[[F], F]:
    """Makes a function callable from the VM; the function itself stays as it is.

    name: what the VM calls it; the function's own name if left out. Two tools of one name are an error.
    idempotent: calling it twice does no harm, so a call may be retried on another worker when its worker has died.
    batch: the calls of a batch are one call of the function, with a list, and it returns a list with a result for each;
    an exception in there is the error of that one. For each call the list has its argument, or a tuple of them where
    there are several or none, or a dict where they have names. Other calls are calls as ever.
    events: names of events that it emits, as for `pitcrew.declare_event`.
    """
    for event in events:
        declare_event(event)
    if function is not None:
        return register(function, name, idempotent, batch)

    def decorate(f: F) -> F:
        return register(f, name, idempotent, batch)

    return decorate


if TYPE_CHECKING:

    @overload
    def tool(function: F, /) -> F: ...
    @overload
    def tool(
        *,
        name: str | None = None,
        idempotent: bool = False,
        batch: bool = False,
        events: Iterable[str | Sequence[str]] = (),
    ) -> Callable[[F], F]: ...
    def tool(*args: Any, **kwargs: Any) -> Any: ...
else:
    tool = _tool
    tool.__name__ = tool.__qualname__ = "tool"


def register(function: F, name: str | None, idempotent: bool, batch: bool) -> F:
    global changes
    if not callable(function):
        raise TypeError(f"@tool: a function is needed, not {function!r}; options are given by name: @tool(name=...)")
    if name is None:
        name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "":
        raise TypeError(f"@tool: {function!r} has no name of its own; give one: @tool(name=...)")
    if name.startswith("pitcrew:"):
        raise ValueError(
            f"@tool: names that begin with 'pitcrew:' are Pitcrew's own; give {name!r} another one: @tool(name=...)"
        )
    for option, value in (("idempotent", idempotent), ("batch", batch)):
        if not isinstance(value, bool):
            raise TypeError(f"@tool: {option} must be True or False, not {value!r}")
    new = Tool(name, function, idempotent, batch)
    old = tools.get(name)
    if old is not None and not new.replaces(old):
        raise ValueError(
            f"two tools are named {name!r}: {old.place} and {new.place}; give one another name: @tool(name=...)"
        )
    tools[name] = new
    changes += 1
    return function


def declare_event(
    name: str | Sequence[str], /, *, measurements: Iterable[str] = (), metadata: Iterable[str] = (), span: bool = False
) -> None:
    """Says, when a module is imported, that there is such an event: then its name, and those of its measurements and
    metadata, are atoms in the VM, which makes none of what merely arrives.

    span: the three events of a span of that name, with what they have of their own.

    pitcrew.declare_event("my_app.search.done", measurements=["hits"], metadata=["index"])
    """
    global changes
    from .events import usual_measurements, usual_metadata, words

    own = words(name if isinstance(name, str) else tuple(name))
    told = set(usual_measurements(dict.fromkeys(measurements, 0))), set(usual_metadata(dict.fromkeys(metadata)))
    variants = [(*own, "start"), (*own, "stop"), (*own, "exception")] if span else [own]
    for event in variants:
        numbers, facts = events.setdefault(event, (set(), set()))
        numbers |= told[0] | ({"duration"} if span else set())
        facts |= told[1] | ({"type", "message"} if span else set())
    changes += 1


def register_type(type: type, *, encode: Callable[[Any], object]) -> None:
    """Says how objects of a class are sent: what `encode(object)` returns is sent in their place.

    Subclasses are meant too, unless they are registered themselves; `object` means whatever has no form otherwise.
    Types that cross anyway (str, dict and the like) are refused; their subclasses, a named tuple for one, are not.

    pitcrew.register_type(Point, encode=lambda p: {"x": p.x, "y": p.y})
    """
    _core.register_type(type, encode)


def on_worker_start(hook: Hook) -> Hook:
    """Has each worker call `hook()` before its first call; if it raises, the worker does not start.

    It may be `async def`.
    """
    return _add_hook(start_hooks, hook, "on_worker_start")


def on_worker_stop(hook: Hook) -> Hook:
    """Has each worker call `hook()` before an orderly exit; a worker that is killed has no time for it.

    It may be `async def`.
    """
    return _add_hook(stop_hooks, hook, "on_worker_stop")


def on_memory_pressure(hook: Relief) -> Relief:
    """Has each worker call `hook(pressure)` between two calls when it has more memory than the pool's option max_rss.

    `pressure.rss` and `pressure.limit` are bytes. Clear what can be made again; garbage is collected afterwards.
    What it raises is printed, and the worker goes on. It may not be `async def`. Where many calls run at once (the
    pool's option concurrency), others may run meanwhile.
    """
    from . import pressure

    return pressure.add(hook)


def _add_hook(hooks: list[Callable[[], Any]], hook: Hook, name: str) -> Hook:
    if not callable(hook):
        raise TypeError(f"@{name}: a function is needed, not {hook!r}")
    hooks.append(hook)
    return hook
