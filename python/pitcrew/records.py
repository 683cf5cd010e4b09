"""Has the records of `logging` go to the VM, without importing it: most workers would pay for that and never log."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

LOGGING = "logging"


def prepare() -> None:
    """In the zygote: what workers would import after their fork."""
    if LOGGING in sys.modules:
        from . import logs  # noqa: F401


def install(level: int) -> None:
    """In a worker, after the imports: now, or when somebody imports it."""
    if LOGGING in sys.modules:
        attach(level)
    else:
        sys.meta_path.insert(0, Finder(level))


def attach(level: int) -> None:
    from . import logs

    logs.attach(level)


class Finder:
    """Finds nothing, but notices that `logging` is looked for, and is gone then."""

    def __init__(self, level: int) -> None:
        self.level = level

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != LOGGING or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        for finder in list(sys.meta_path):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = Loader(spec.loader, self.level)  # type: ignore[assignment]
                return spec
        return None


class Loader:
    """Another loader, with something to do when it has loaded."""

    def __init__(self, loader: Any, level: int) -> None:
        self.loader = loader
        self.level = level

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        attach(self.level)
