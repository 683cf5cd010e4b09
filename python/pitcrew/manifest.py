"""What the VM is told about tools (docs/protocol.md, Manifest), and what the serve loop needs to know about each.

Plain functions are read without `inspect`, whose import would be a third of the start of a worker that is not forked.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

    from ._core import Served
    from .registry import Tool

    Param = dict[str, str | bool | None]

_FUNCTION = type(lambda: None)
_VAR_POSITIONAL, _VAR_KEYWORD = 0x04, 0x08
_KINDS = ((0x200, "async_generator"), (0x80, "coroutine"), (0x20, "generator"))


def manifest(tools: dict[str, Tool]) -> list[dict[str, Any]]:
    return [entry(tool) for tool in tools.values()]


def declared_events(events: dict[tuple[str, ...], tuple[set[str], set[str]]]) -> list[dict[str, Any]]:
    return [
        {"name": list(name), "measurements": sorted(numbers), "metadata": sorted(facts)}
        for name, (numbers, facts) in events.items()
    ]


def entry(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "doc": doc(tool.function),
        "module": getattr(tool.function, "__module__", None),
        "params": params(tool.function),
        "idempotent": tool.idempotent,
        "batch": tool.batch,
        "kind": kind(tool.function),
    }


def served(tools: dict[str, Tool]) -> dict[str, Served]:
    """The table that `_core.serve` looks names up in."""
    from .refs import TOOLS

    table = {tool.name: served_tool(tool) for tool in tools.values()}
    return {name: (function, None) for name, function in TOOLS.items()} | table


def served_tool(tool: Tool) -> Served:
    """One that takes batches at once has a third element, of the elements of its list."""
    parameters = params(tool.function)
    binary = binary_params(parameters)
    return (tool.function, binary, binary_elements(parameters)) if tool.batch else (tool.function, binary)


def kind(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    flags = 0 if code is None else code.co_flags
    return next((name for flag, name in _KINDS if flags & flag), "function")


def doc(function: Callable[..., Any]) -> str | None:
    """The docstring without the indentation of the code around it."""
    text = getattr(function, "__doc__", None)
    if not isinstance(text, str):
        return None
    first, *rest = text.expandtabs().splitlines() or [""]
    indents = [len(line) - len(line.lstrip()) for line in rest if line.strip()]
    cut = min(indents, default=0)
    return "\n".join([first.strip(), *(line[cut:].rstrip() for line in rest)]).strip("\n")


# ---- Parameters


def params(function: Callable[..., Any]) -> list[Param]:
    if type(function) is not _FUNCTION or hasattr(function, "__wrapped__") or hasattr(function, "__signature__"):
        return _params_of_signature(function)
    return _params_of_code(function, function.__code__)


def _params_of_code(function: Any, code: CodeType) -> list[Param]:
    names = iter(code.co_varnames)
    take = [next(names) for _ in range(code.co_argcount + code.co_kwonlyargcount)]
    positional, keyword_only = take[: code.co_argcount], take[code.co_argcount :]
    optional = set(positional[len(positional) - len(function.__defaults__ or ()) :]) | set(
        function.__kwdefaults__ or ()
    )
    annotations = function.__annotations__

    def param(name: str, kind: str, required: bool) -> Param:
        return _param(name, kind, required, annotations.get(name))

    found = [
        param(name, "positional_only" if i < code.co_posonlyargcount else "positional_or_keyword", name not in optional)
        for i, name in enumerate(positional)
    ]
    if code.co_flags & _VAR_POSITIONAL:
        found.append(param(next(names), "var_positional", False))
    found += [param(name, "keyword_only", name not in optional) for name in keyword_only]
    if code.co_flags & _VAR_KEYWORD:
        found.append(param(next(names), "var_keyword", False))
    return found


def _params_of_signature(function: Callable[..., Any]) -> list[Param]:
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of C that does not say
        return [_param("args", "var_positional", False, None), _param("kwargs", "var_keyword", False, None)]
    return [
        _param(
            p.name,
            p.kind.name.lower(),
            p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD),
            None if p.annotation is p.empty else p.annotation,
        )
        for p in signature.parameters.values()
    ]


def _param(name: str, kind: str, required: bool, annotation: object) -> Param:
    return {"name": name, "kind": kind, "required": required, "annotation": annotation_text(annotation)}


def annotation_text(annotation: object) -> str | None:
    if annotation is None or isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and "[" not in repr(annotation):
        module = annotation.__module__
        return annotation.__qualname__ if module == "builtins" else f"{module}.{annotation.__qualname__}"
    return repr(annotation)


# ---- Parameters that want bytes

_BINARY = {"bytes": bytes, "memoryview": memoryview}


def binary_params(params: list[Param]) -> dict[int | str, type | None] | None:
    """Which arguments become bytes or a memoryview when the VM sends a str: by index, name, "*" and "**".

    None if there are none.
    """
    table: dict[int | str, type | None] = {}
    positions = 0
    for p in params:
        name, kind, wanted = str(p["name"]), p["kind"], binary_type(p["annotation"])
        if kind == "var_positional":
            table["*"] = wanted
        elif kind == "var_keyword":
            table["**"] = wanted
        else:
            if kind != "keyword_only":
                table[positions] = wanted
                positions += 1
            if kind != "positional_only":
                table[name] = wanted
    return table if any(table.values()) else None


def binary_elements(params: list[Param]) -> dict[int | str, type | None] | None:
    """The same for the calls of a batch, when the list that they come in is annotated so, as `list[bytes]`."""
    annotation = params[0]["annotation"] if params else None
    if not isinstance(annotation, str) or not annotation.rstrip("'\" ").endswith("]"):
        return None
    wanted = binary_type(annotation.strip("'\" ").partition("[")[2][:-1])
    return None if wanted is None else {"*": wanted, "**": wanted}


def binary_type(annotation: object) -> type | None:
    """bytes for `bytes`, `bytes | None` and `Optional[bytes]`; nothing for a union that holds str as well."""
    if not isinstance(annotation, str) or ("bytes" not in annotation and "memoryview" not in annotation):
        return None
    text = annotation.strip("'\" ").removeprefix("typing.")
    for union in ("Optional[", "Union["):
        if text.startswith(union) and text.endswith("]"):
            text = text[len(union) : -1].replace(",", "|")
    parts = {part.strip() for part in text.split("|")}
    if "str" in parts:
        return None
    return next((_BINARY[name] for name in ("bytes", "memoryview") if name in parts), None)
