"""The decorators, the manifest, and how exceptions are told."""

import functools
import inspect
import textwrap
from typing import Any, Optional, Union

import pytest
from harness import run_python
from pitcrew import fault, manifest, registry, tool


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "tools", {})


def test_with_and_without_parentheses():
    @tool
    def plain(a):
        return a

    @tool()
    def empty(a):
        return a

    @tool(name="other", idempotent=True)
    def named(a):
        return a

    assert plain(1) == empty(1) == named(1) == 1
    assert {name: t.idempotent for name, t in registry.tools.items()} == {"plain": False, "empty": False, "other": True}


@pytest.mark.parametrize("use", [lambda: tool("name"), lambda: tool(name="x")(5), lambda: tool(functools.partial(len))])
def test_misuse_is_explained(use):
    with pytest.raises(TypeError, match="@tool"):
        use()


@pytest.mark.parametrize("options", [{"idempotent": 1}, {"name": 5}, {"name": ""}, {"batch": None}, {"retry": True}])
def test_options_of_a_wrong_type_or_name(options):
    with pytest.raises(TypeError):
        tool(**options)(len)


def test_two_tools_of_one_name_name_both_places():
    def one():
        pass

    def two():
        pass

    tool(name="same")(one)
    with pytest.raises(ValueError) as caught:
        tool(name="same")(two)
    for f in (one, two):
        assert f"{f.__qualname__} ({__file__}:{f.__code__.co_firstlineno})" in str(caught.value)


def test_a_module_may_be_reloaded():
    done = run_python(
        "import importlib, worker_tools; importlib.reload(worker_tools)\n"
        "from pitcrew import registry; print(len(registry.tools))"
    )
    assert done.returncode == 0 and int(done.stdout) > 20, done.stderr


# ---- The manifest


def f0(): ...
def f1(a, b=1, /, c=2, *, d, e=3, **f): ...
def f2(a: int, *args: "list[int]", b: Optional[bytes] = None, **kwargs: dict[str, Any]) -> None: ...  # noqa: UP045
def f3(a, /): ...
def f4(*, key: "bytes"): ...
def f5(a: Union[int, str], b: textwrap.TextWrapper, c: None = None): ...  # noqa: UP007


@functools.wraps(f1)
def wrapper(*args, **kwargs):
    return f1(*args, **kwargs)


class Methods:
    def __call__(self, x: int) -> int:
        return x

    @classmethod
    def make(cls, y=1): ...


def expected(function):
    """What inspect says, in the manifest's words."""
    return [
        {
            "name": p.name,
            "kind": p.kind.name.lower(),
            "required": p.default is p.empty and "VAR" not in p.kind.name,
            "annotation": manifest.annotation_text(None if p.annotation is p.empty else p.annotation),
        }
        for p in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(
    "function",
    [f0, f1, f2, f3, f4, f5, wrapper, Methods(), Methods.make, len, functools.partial(f2, 1), lambda x, y=1: x],
)
def test_parameters_are_those_of_inspect(function):
    assert manifest.params(function) == expected(function)


def test_a_function_of_c_that_does_not_say():
    assert [p["kind"] for p in manifest.params(dict)] == ["var_positional", "var_keyword"]


@pytest.mark.parametrize(
    "function", [f1, test_options_of_a_wrong_type_or_name, fault.describe, inspect.getdoc, len, str.format]
)
def test_docs_are_those_of_inspect(function):
    ours, theirs = manifest.doc(function), inspect.getdoc(function)
    assert (ours or "").rstrip() == (theirs or "").rstrip()


def test_annotations_are_text():
    annotations = [p["annotation"] for p in manifest.params(f2)]
    assert annotations == ["int", "list[int]", "typing.Optional[bytes]", "dict[str, typing.Any]"]
    assert manifest.params(f5)[1]["annotation"] == "textwrap.TextWrapper"


def test_the_entry_of_a_tool():
    @tool(idempotent=True)
    def search(query: str, k: int = 10) -> list:
        """Finds documents.

        Slowly.
        """

    assert manifest.manifest(registry.tools) == [
        {
            "name": "search",
            "doc": "Finds documents.\n\nSlowly.",
            "module": __name__,
            "params": [
                {"name": "query", "kind": "positional_or_keyword", "required": True, "annotation": "str"},
                {"name": "k", "kind": "positional_or_keyword", "required": False, "annotation": "int"},
            ],
            "idempotent": True,
            "batch": False,
            "kind": "function",
        }
    ]


def test_kinds_of_tools():
    def generator():
        yield

    async def coroutine(): ...

    async def async_generator():
        yield

    kinds = [manifest.kind(f) for f in (generator, coroutine, async_generator, len, f0)]
    assert kinds == ["generator", "coroutine", "async_generator", "function", "function"]


@pytest.mark.parametrize(
    ("annotation", "type_"),
    [
        ("bytes", bytes),
        ("memoryview", memoryview),
        ("bytes | None", bytes),
        ("typing.Optional[bytes]", bytes),
        ("Union[bytes, None]", bytes),
        ("bytes | str", None),
        ("list[bytes]", None),
        ("Optional[list[bytes]]", None),
        ("str", None),
        (None, None),
        ("bytes_like", None),
    ],
)
def test_annotations_that_want_bytes(annotation, type_):
    assert manifest.binary_type(annotation) is type_


def test_which_arguments_become_bytes():
    def mixed(a, b: bytes, /, c: bytes, *rest, d: memoryview, **more): ...

    table = manifest.binary_params(manifest.params(mixed))
    assert table == {0: None, 1: bytes, 2: bytes, "c": bytes, "*": None, "d": memoryview, "**": None}
    assert manifest.binary_params(manifest.params(f1)) is None


# ---- Faults


def test_text_is_bounded_and_keeps_both_ends():
    text = fault.bounded("begin " + "é" * 100_000 + " end", 1000)
    assert len(text.encode()) <= 1000
    assert text.startswith("begin é") and text.endswith("é end") and "bytes left out" in text
    assert fault.bounded("short", 1000) == "short"
    assert fault.bounded("\ud800", 1000) == "\\ud800"


def test_a_close_match_is_named():
    assert "did you mean 'search'" in fault.unknown_tool("serach", ["search", "add"])
    assert "'add', 'search'" in fault.unknown_tool("zzz", ["search", "add"])
    assert "no tools" in fault.unknown_tool("zzz", [])
    assert "and others" in fault.unknown_tool("?", [f"tool{n}" for n in range(30)])


# ---- The import


HEAVY = [
    "inspect",
    "typing",
    "traceback",
    "logging",
    "difflib",
    "asyncio",
    "socket",
    "signal",
    "dataclasses",
    "argparse",
]


def test_importing_the_package_imports_nothing_heavy():
    done = run_python("import sys; import pitcrew, pitcrew.worker, pitcrew.__main__; print(*sys.modules)")
    loaded = set(done.stdout.split())
    before = set(run_python("import sys; print(*sys.modules)").stdout.split())
    assert "pitcrew._core" in loaded
    assert (loaded - before).isdisjoint(HEAVY)
