"""Objects that stay in their worker while the VM holds a reference to them, and what can be done with those there."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Ref:
    """What a tool returns, alone or inside of something, to keep an object here and give the VM a reference to it.

    The object is `value`. It stays until the VM has no such reference any more, or the worker ends.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"pitcrew.ref({self.value!r})"


def ref(value: object) -> Ref:
    """Keeps an object in this worker: returned by a tool, it is a Pitcrew.Ref in the VM.

    @tool
    def load(path):
        return pitcrew.ref(Model(path))

    Passed back in the arguments of a call, that is the object itself.
    """
    return Ref(value)


# ---- Tools that every pool has, whose names begin with "pitcrew:"


def call_method(target: object, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return public(target, name)(*args, **kwargs)


def get_attribute(target: object, name: str, /) -> Any:
    return public(target, name)


def get_value(target: object, /) -> object:
    return target


def nothing() -> None:
    pass


def public(target: object, name: str) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"the name of an attribute is a string, not {name!r}")
    if name.startswith("_"):
        raise AttributeError(f"{name!r} begins with an underscore, so it is not for callers from outside")
    return getattr(target, name)


TOOLS: dict[str, Callable[..., Any]] = {
    "pitcrew:method": call_method,
    "pitcrew:attribute": get_attribute,
    "pitcrew:value": get_value,
    "pitcrew:nothing": nothing,
}
