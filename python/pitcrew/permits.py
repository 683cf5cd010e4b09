"""Calls of what is no tool, where the pool allows them: code, and functions of modules (`"numpy.linalg:norm"`).

Nothing but what the options name becomes reachable. A name leads to an allowed module and from there along public
attributes; a module on the way must be allowed itself, and what a module has merely imported is not its own.
"""

from __future__ import annotations

import sys

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

OURS = "pitcrew"
PROFILE = "pitcrew:profile"
MOST_PARTS = 8
MOST_KNOWN = 1024

_MODULE = type(sys)


class Permits:
    """What the pool's options allow_eval and allow_import say."""

    def __init__(self, allows_eval: bool = False, modules: Iterable[str] = ()) -> None:
        self.allows_eval = allows_eval
        self.modules = frozenset(modules)
        self.known: dict[str, Callable[..., Any]] = {}

    def find(self, name: str) -> tuple[Callable[..., Any], bool] | None:
        """What a name stands for that no tool has, and False; or what is to be called to learn it, and True.

        None for a name that is no more than a wrong one.
        """
        module, colon, path = name.partition(":")
        if not colon:
            return None
        if module.partition(".")[0] == OURS:
            return self.find_ours(name)
        if name in self.known:
            return self.known[name], False
        if not self.allows(module):
            refuse(
                "not_allowed",
                f"the pool does not allow calls of {name}: its option allow_import must name {module} "
                "or a package that it is in",
            )
        return lambda: self.resolve(name, module, path), True

    def find_ours(self, name: str) -> tuple[Callable[..., Any], bool] | None:
        if name == PROFILE:
            from . import profiler

            return profiler.start, False
        from . import evaluate

        if name != evaluate.NAME:
            return None
        if not self.allows_eval:
            refuse("not_allowed", "the pool does not allow eval: its option allow_eval must be true")
        return evaluate.evaluate, False

    def allows(self, module: str) -> bool:
        """Whether it is a module that was named, or one inside of such a package."""
        parts = module.split(".")
        return parts[0] != OURS and any(".".join(parts[:n]) in self.modules for n in range(1, len(parts) + 1))

    def resolve(self, name: str, module: str, path: str) -> Callable[..., Any]:
        """Imports and looks up. Part of the call: it may take long, and may be cancelled."""
        parts = path.split(".")
        if len(parts) > MOST_PARTS or not all(map(is_public, parts)):
            refuse(
                "not_allowed",
                f"{path!r} is not a path of at most {MOST_PARTS} public names, so {name} cannot be called",
            )
        found: Any = self.imported(module)
        for part in parts:
            found = self.step(found, part, name)
        if not callable(found):
            refuse("unknown_tool", f"{name} cannot be called: it is of type {type(found).__name__}")
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known[name] = found
        function: Callable[..., Any] = found
        return function

    def imported(self, name: str) -> Any:
        if not all(part.isidentifier() and not part.startswith("__") for part in name.split(".")):
            refuse("not_allowed", f"{name!r} is not the name of a module that can be imported for a call")
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{name}.".startswith(f"{error.name}."):
                refuse("unknown_tool", f"there is no module named {error.name!r}")
            raise
        module = sys.modules[name]
        if name not in self.modules:  # by its package: then it must be what it is called
            self.check_module(module, name)
        return module

    def check_module(self, module: Any, way: str) -> None:
        name = getattr(module, "__name__", None)
        if not isinstance(name, str) or not self.allows(name):
            refuse("not_allowed", f"{way} is the module {name}, which the pool's option allow_import does not name")

    def step(self, owner: Any, part: str, name: str) -> Any:
        try:
            found = getattr(owner, part)
        except AttributeError as error:
            from .fault import text_of

            refuse("unknown_tool", f"there is no {name}: {text_of(error)}")
        if isinstance(found, _MODULE):
            self.check_module(found, f"{part!r} in {name}")
        elif not callable(found) and type(found).__module__ == "builtins":  # a number, a dict: whoever it belongs to
            refuse("unknown_tool", f"{part!r} in {name} is of type {type(found).__name__}, not a function or a class")
        elif isinstance(owner, _MODULE) and not self.is_own(owner, part, found):
            refuse(
                "not_allowed",
                f"{part!r} in {name} comes from the module {home(found)}, which the pool's option allow_import does "
                f"not name; {owner.__name__} has imported it without naming it in __all__",
            )
        return found

    def is_own(self, module: Any, part: str, found: object) -> bool:
        origin = home(found)
        return (
            self.allows(origin)
            or origin == f"_{module.__name__}"  # where the part of a module is that is written in C
            or part in getattr(module, "__all__", ())
        )


def is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def home(found: object) -> str:
    """The module that something is defined in: of an instance its class, of a bound method of C its owner."""
    own = getattr(found, "__module__", None)
    if isinstance(own, str):
        return own
    bound = getattr(found, "__self__", None)
    owner = bound if isinstance(bound, type) else type(found if bound is None else bound)
    return str(owner.__module__)


def refuse(kind: str, message: str) -> NoReturn:
    raise _core.Refused(kind, message) from None


# ---- What this process's pool allows

current = Permits()


def allow(allows_eval: bool, modules: Iterable[str]) -> None:
    """As the command line says."""
    global current
    current = Permits(allows_eval, modules)


def argv() -> list[str]:
    """The command line that says it again."""
    imports = (word for name in sorted(current.modules) for word in ("--allow-import", name))
    return ["--allow-eval", *imports] if current.allows_eval else [*imports]
