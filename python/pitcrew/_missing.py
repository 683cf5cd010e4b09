"""What happens when this folder has no `_core` for the interpreter that runs: look further, or say how to build it.

Several builds lie side by side in one folder, one file for each ABI; another may have come with `pip install` into the
interpreter's own site-packages.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

EXIT_STATUS = 3


def find_core(path: list[str], error: ImportError) -> tuple[list[str], ModuleType]:
    """The package's path, extended by the other folders named `pitcrew` on sys.path, and the `_core` found there."""
    from importlib import import_module
    from pkgutil import extend_path

    package = sys.modules["pitcrew"]
    extended = list(extend_path(path, "pitcrew"))
    package.__path__ = extended
    try:
        return extended, import_module("pitcrew._core")
    except ImportError as other:
        _give_up(error if isinstance(other, ModuleNotFoundError) else other)


def _give_up(error: ImportError) -> NoReturn:
    message = explanation(error)
    if runs_as_program():
        print(message, file=sys.stderr, flush=True)
        raise SystemExit(EXIT_STATUS)
    raise ImportError(message) from error


def runs_as_program() -> bool:
    """Whether this is `python -m pitcrew`, of which a traceback would be no use to anybody."""
    argv = sys.orig_argv
    return "-m" in argv and argv[argv.index("-m") + 1 :][:1] == ["pitcrew"]


def explanation(error: ImportError) -> str:
    python = sys.executable
    version = ".".join(map(str, sys.version_info[:3]))
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
    return (
        f"pitcrew._core is not built for {python} (Python {version}){reason}. One of these builds it:\n"
        f"  mix pitcrew.python --python {python}\n"
        f"  make -C {source_tree()} python PYTHON={python}\n"
        f"  {python} -m pip install {source_tree()}/python"
    )


def source_tree() -> str:
    """The source tree that this package was built from (`<tree>/priv/python/pitcrew`), as far as can be seen."""
    import os

    tree = os.path.dirname(os.path.realpath(__file__))
    for _ in range(3):
        tree = os.path.dirname(tree)
        if os.path.exists(os.path.join(tree, "c_src", "Makefile")):
            return tree
    return "PATH/TO/pitcrew"
