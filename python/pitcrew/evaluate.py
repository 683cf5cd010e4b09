"""Code that the VM sends (`Pitcrew.eval`): it runs with names bound, and the last expression's value is the result."""

from __future__ import annotations

import builtins
import sys
from keyword import iskeyword

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    Compiled = tuple[CodeType, CodeType | None]

NAME = "pitcrew:eval"
MOST_KEPT = 64
MOST_KEPT_TEXT = 1 << 20
ONLY_AST = 0x400  # ast.PyCF_ONLY_AST, without the import of `ast`, which is slow


def evaluate(code: str | bytes, bindings: dict[str | bytes, Any] | None = None) -> Any:
    """Runs `code` with `bindings` for its global names, in a namespace of its own.

    The value of its last statement, if that is an expression, else None.
    """
    text = code.decode() if isinstance(code, bytes) else code
    if not isinstance(text, str):
        raise _core.Refused("bad_arguments", f"code to evaluate is a text, not {type(code).__name__}")
    names = {"__builtins__": builtins, "__name__": "__eval__", **bound(bindings)}
    file, (body, last) = kept(text)
    try:
        exec(body, names)
        return None if last is None else eval(last, names)
    except Exception:
        tell_text(file, text)
        raise


def bound(bindings: dict[str | bytes, Any] | None) -> dict[str, Any]:
    if bindings is None:
        return {}
    if not isinstance(bindings, dict):
        raise _core.Refused("bad_arguments", f"bindings are a map from names to values, not {type(bindings).__name__}")
    return {name_of(key): value for key, value in bindings.items()}


def name_of(key: object) -> str:
    name = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        raise _core.Refused("bad_arguments", f"{key!r} cannot be bound: it is no name of a variable in Python")
    return "".join(name)  # of an atom its text


def compiled(text: str, file: str) -> Compiled:
    """The statements, and the expression that stands last."""
    tree: Any = compile(text, file, "exec", ONLY_AST, dont_inherit=True)
    last = None
    if tree.body and type(tree.body[-1]).__name__ == "Expr":
        from _ast import Expression

        last = compile(Expression(tree.body.pop().value), file, "eval", dont_inherit=True)
    return compile(tree, file, "exec", dont_inherit=True), last


# ---- The latest codes, by their text

_kept: dict[str, tuple[str, Compiled]] = {}
_made = 0


def kept(text: str) -> tuple[str, Compiled]:
    """What tracebacks call the file, and what was compiled."""
    global _made
    found = _kept.pop(text, None)
    if found is None:
        _made += 1
        file = f"<eval {_made}>"
        found = file, compiled(text, file)
    _kept[text] = found  # behind all others
    while len(_kept) > 1 and (len(_kept) > MOST_KEPT or sum(map(len, _kept)) > MOST_KEPT_TEXT):
        forget_text(_kept.pop(next(iter(_kept)))[0])
    return found


def tell_text(file: str, text: str) -> None:
    """So that tracebacks show the lines."""
    import linecache  # slow, and only of use after an error

    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def forget_text(file: str) -> None:
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        linecache.cache.pop(file, None)
